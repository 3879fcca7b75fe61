"""Hierarchical cross-entropy over an ontology's leaves (paper, section 4.2.1)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from wced.objectives.term import Term, sum_of


class LeafTargets(NamedTuple):
    """Which leaves of an ontology each class of a label stands for."""

    descendant_leaves_cl: np.ndarray
    """bool, classes × leaves: the leaf descends from the class, or is it. A class without a leaf is one that the
    ontology does not know: it counts as unknown."""
    residual_leaf_c: np.ndarray
    """int64, by class: the leaf that stands for this class, not further specified; −1 where there is none."""


class HierarchicalCrossEntropy(nn.Module):
    """Negative log of the probability mass of a label's descendant leaves.

    With leaf logits a and M the leaves that descend from label y (or are y),

        L = logsumexp(a) − logsumexp(a over M) = −logsumexp(log_softmax(a) over M) = −log P(M),

    paper's equations 2 and 3. The LogSumExp is of the subset itself, so it stays finite for any logits (exponentials of
    log-probabilities would vanish once the gap exceeds about 100), and the log-softmax before it keeps the digits that
    the difference of two large numbers would lose.

    A label y with a residual leaf r (`wced.ontology.cut`), which is in M, costs

        L = −(1 − w) log P(M) − w log P(r) = −log P(M) − w log P(r | M).

    The first term is the paper's: a coarse label is true of all that is below it. The second says how much a coarse
    label speaks for the residual leaf and against the finer ones. Among cells that look alike, of which a share q has
    the label y and the others labels below it, the loss is least at P(r | M) = wq / (wq + 1 − q). So w is what a coarse
    label counts, where a finer one counts 1: r outweighs all finer leaves where more than 1 / (1 + w) of such cells are
    labelled coarsely. With 0 nothing tells r from what is below y; with 1 the loss is the cross-entropy of r.
    """

    def __init__(self, targets: LeafTargets, residual_weight: float = 0.0) -> None:
        """Take the leaves of each class and the weight w, between 0 and 1, of residual leaves."""
        super().__init__()
        below_cl, residual_c = targets
        mapped_c = below_cl.any(axis=1)
        # The last row, which code −1 finds, stands for unknown: nothing is outside it, so that its loss is finite.
        outside_cl = np.vstack([~below_cl, np.zeros((1, below_cl.shape[1]), bool)])
        outside_cl[:-1][~mapped_c] = False
        leaf_c = np.append(residual_c, -1)
        weight_c = np.where(leaf_c < 0, 0.0, residual_weight).astype(np.float32)
        self.register_buffer("outside_cl", torch.from_numpy(outside_cl), persistent=False)
        self.register_buffer("known_c", torch.from_numpy(np.append(mapped_c, False)), persistent=False)
        self.register_buffer("residual_c", torch.from_numpy(leaf_c.clip(0)), persistent=False)
        self.register_buffer("weight_c", torch.from_numpy(weight_c), persistent=False)

    def per_cell(self, logits_nl: torch.Tensor, label_n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of every cell (float32, 0 where its label is unknown), and which labels are known.

        Parameters
        ----------
        logits_nl
            Leaf logits, cells × leaves.
        label_n
            Class codes, −1 for unknown; those cells weigh nothing.
        """
        label_n = label_n.long()
        known_n, weight_n = self.known_c[label_n], self.weight_c[label_n]
        log_p_nl = torch.log_softmax(logits_nl.float(), dim=1)
        # Rounding may bring the sum of all leaves above 1 by a hair.
        below_n = log_p_nl.masked_fill(self.outside_cl[label_n], -torch.inf).logsumexp(dim=1).clamp(max=0.0)
        residual_n = log_p_nl.gather(1, self.residual_c[label_n, None])[:, 0]
        loss_n = -(1 - weight_n) * below_n - weight_n * residual_n
        return torch.where(known_n, loss_n, 0.0), known_n

    def forward(self, logits_nl: torch.Tensor, label_n: torch.Tensor) -> Term:
        """Return the sum over the cells with a known label."""
        return sum_of(*self.per_cell(logits_nl, label_n))

    def correct(self, logits_nl: torch.Tensor, label_n: torch.Tensor) -> Term:
        """Return for how many cells with a known label the most probable leaf is or descends from the label."""
        label_n = label_n.long()
        known_n = self.known_c[label_n]
        return sum_of(~self.outside_cl[label_n, logits_nl.argmax(dim=1)] & known_n, known_n)

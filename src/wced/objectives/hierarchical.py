"""Hierarchical cross-entropy over an ontology's leaves (paper, section 4.2.1)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wced.objectives.labels import CellLoss
from wced.objectives.term import Term, term


class LeafTargets(NamedTuple):
    """Which leaves of an ontology each class of a label stands for."""

    descendant_leaves_cl: np.ndarray
    """bool, classes × leaves: whether the leaf is the class or descends from it. A class without a leaf is not in the
    ontology and counts as unknown."""
    residual_leaf_c: np.ndarray
    """int64, by class: the leaf for this class, not further specified; −1 for none."""


class HierarchicalCrossEntropy(CellLoss):
    """Negative log of the probability mass of a label's descendant leaves.

    With leaf logits a and M the leaves that descend from label y (or are y),

        L = logsumexp(a) − logsumexp(a over M) = −logsumexp(log_softmax(a) over M) = −log P(M),

    paper's equations 2 and 3. The LogSumExp is of the subset itself, so it stays finite for any logits (exponentials of
    log-probabilities would vanish once the gap exceeds about 100), and the log-softmax before it keeps the digits that
    the difference of two large numbers would lose.

    A label y with a residual leaf r (`wced.ontology.cut`), which is in M, costs

        L = −(1 − w) log P(M) − w log P(r) = −log P(M) − w log P(r | M).

    The first term is the paper's: a coarse label is true of everything below it. The second is how much a coarse label
    counts for the residual leaf and against the finer ones. Among cells that look alike, of which a share q has the
    label y and the others labels below it, the loss is least at P(r | M) = wq / (wq + 1 − q). So a coarse label counts
    w where a finer one counts 1: r outweighs all finer leaves where more than 1 / (1 + w) of such cells are labelled
    coarsely. With w = 0 nothing tells r from the leaves below y; with w = 1 the loss is the cross-entropy of r.
    """

    def __init__(self, targets: LeafTargets, residual_weight: float = 0.0) -> None:
        """Keep the leaves of each class, and the weight w of residual leaves, between 0 and 1."""
        super().__init__()
        below_cl, residual_c = targets
        mapped_c = below_cl.any(axis=1)
        # The last row, which code −1 indexes, is unknown: nothing is outside it, so that its loss is finite.
        outside_cl = np.vstack([~below_cl, np.zeros((1, below_cl.shape[1]), bool)])
        outside_cl[:-1][~mapped_c] = False
        leaf_c = np.append(residual_c, -1)
        weight_c = np.where(leaf_c < 0, 0.0, residual_weight).astype(np.float32)
        self.register_buffer("outside_cl", torch.from_numpy(outside_cl), persistent=False)
        self.register_buffer("known_c", torch.from_numpy(np.append(mapped_c, False)), persistent=False)
        self.register_buffer("residual_c", torch.from_numpy(leaf_c.clip(0)), persistent=False)
        self.register_buffer("weight_c", torch.from_numpy(weight_c), persistent=False)

    def per_cell(self, logits_nl: Tensor, label_n: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each cell, from its leaf logits, and which labels are known."""
        label_n = label_n.long()
        known_n, weight_n = self.known_c[label_n], self.weight_c[label_n]
        log_p_nl = torch.log_softmax(logits_nl.float(), dim=1)
        # Rounding may bring the sum of all leaves slightly above 1.
        below_n = log_p_nl.masked_fill(self.outside_cl[label_n], -torch.inf).logsumexp(dim=1).clamp(max=0.0)
        residual_n = log_p_nl.gather(1, self.residual_c[label_n, None])[:, 0]
        loss_n = -(1 - weight_n) * below_n - weight_n * residual_n
        return torch.where(known_n, loss_n, 0.0), known_n

    def correct(self, logits_nl: Tensor, label_n: Tensor) -> Term:
        """Return the number of cells whose most probable leaf is or descends from their label, over the known ones."""
        label_n = label_n.long()
        known_n = self.known_c[label_n]
        correct_n = ~self.outside_cl[label_n, logits_nl.argmax(dim=1)] & known_n
        return term(correct_n.sum(), known_n.sum())

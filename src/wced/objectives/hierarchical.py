"""Hierarchical cross-entropy over an ontology's leaves (paper, section 4.2.1)."""

import numpy as np
import torch
from torch import nn

from wced.objectives.term import Term, sum_of


class HierarchicalCrossEntropy(nn.Module):
    """Negative log of the probability mass of a label's descendant leaves.

    With leaf logits a and M the leaves that descend from label y (or are y),

        L = logsumexp(a) − logsumexp(a over M) = −logsumexp(log_softmax(a) over M),

    paper's equations 2 and 3. The LogSumExp is of the subset itself, so it stays finite for any logits (exponentials of
    log-probabilities would vanish once the gap exceeds about 100), and the log-softmax before it keeps the digits that
    the difference of two large numbers would lose.
    """

    def __init__(self, descendant_leaves_cl: np.ndarray) -> None:
        """Take the mask of leaves below each class.

        Parameters
        ----------
        descendant_leaves_cl
            bool, classes × leaves. A class without a leaf is one that the ontology does not know: it counts as
            unknown.
        """
        super().__init__()
        mapped_c = descendant_leaves_cl.any(axis=1)
        # The last row, which code −1 finds, stands for unknown: nothing is outside it, so that its loss is finite.
        outside_cl = np.vstack([~descendant_leaves_cl, np.zeros((1, descendant_leaves_cl.shape[1]), bool)])
        outside_cl[:-1][~mapped_c] = False
        self.register_buffer("outside_cl", torch.from_numpy(outside_cl), persistent=False)
        self.register_buffer("known_c", torch.from_numpy(np.append(mapped_c, False)), persistent=False)

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
        known_n = self.known_c[label_n]
        log_p_nl = torch.log_softmax(logits_nl.float(), dim=1).masked_fill(self.outside_cl[label_n], -torch.inf)
        # Rounding may bring the sum of all leaves above 1 by a hair.
        loss_n = -torch.logsumexp(log_p_nl, dim=1).clamp(max=0.0)
        return torch.where(known_n, loss_n, 0.0), known_n

    def forward(self, logits_nl: torch.Tensor, label_n: torch.Tensor) -> Term:
        """Return the sum over the cells with a known label."""
        return sum_of(*self.per_cell(logits_nl, label_n))

    def correct(self, logits_nl: torch.Tensor, label_n: torch.Tensor) -> Term:
        """Return for how many cells with a known label the most probable leaf is or descends from the label."""
        label_n = label_n.long()
        known_n = self.known_c[label_n]
        return sum_of(~self.outside_cl[label_n, logits_nl.argmax(dim=1)] & known_n, known_n)

"""Hierarchical cross-entropy over an ontology's leaves (paper, section 4.2.1)."""

import numpy as np
import torch
from torch import nn


class HierarchicalCrossEntropy(nn.Module):
    """Negative log of the probability mass of a label's descendant leaves.

    With leaf logits a and M the leaves that descend from label y (or are y),

        L = logsumexp(a) − logsumexp(a over M),

    paper's equations 2 and 3. The second term is a LogSumExp of the subset itself, which stays finite for any
    logits; subtracting the maximum over all leaves first would give −inf once the gap exceeds about 100.
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
        self.register_buffer("outside_cl", torch.from_numpy(~descendant_leaves_cl), persistent=False)
        self.register_buffer("mapped_c", torch.from_numpy(descendant_leaves_cl.any(axis=1)), persistent=False)

    def _known(self, label_n: torch.Tensor) -> torch.Tensor:
        return (label_n >= 0) & self.mapped_c[label_n.clamp(min=0).long()]

    def forward(self, logits_nl: torch.Tensor, label_n: torch.Tensor) -> torch.Tensor:
        """Return the loss of each cell with a known label; shape (known,), float32.

        Parameters
        ----------
        logits_nl
            Leaf logits, cells × leaves.
        label_n
            Class codes, −1 for unknown; those cells are left out and so weigh nothing.
        """
        known = self._known(label_n)
        logits = logits_nl[known].float()
        below = logits.masked_fill(self.outside_cl[label_n[known].long()], -torch.inf)
        return torch.logsumexp(logits, dim=1) - torch.logsumexp(below, dim=1)

    def correct(self, logits_nl: torch.Tensor, label_n: torch.Tensor) -> torch.Tensor:
        """Return, per cell with a known label, whether its most probable leaf is or descends from the label."""
        known = self._known(label_n)
        return ~self.outside_cl[label_n[known].long(), logits_nl[known].argmax(dim=1)]

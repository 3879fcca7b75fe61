"""Losses of label heads: classes without a hierarchy, and numbers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wced.objectives.term import Term, term


class CellLoss(nn.Module):
    """A loss of each cell, summed over the cells whose truth is known; the others weigh nothing."""

    def per_cell(self, predicted_nc: Tensor, truth_n: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each cell (float32, 0 where its truth is unknown), and where it is known; (n,)."""
        raise NotImplementedError

    def forward(self, predicted_nc: Tensor, truth_n: Tensor) -> Term:
        """Return the sum over cells; `truth_n` has a class code (−1: unknown) or a number (NaN: unknown) per cell."""
        loss_n, known_n = self.per_cell(predicted_nc, truth_n)
        return term(loss_n.sum(), known_n.sum())


class FlatLabelLoss(CellLoss):
    """Focal loss −(1 − p)^γ log p of the true class's probability p (Lin et al. 2017); γ = 0 is cross-entropy."""

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def per_cell(self, logits_nc: Tensor, label_n: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each cell and which labels are known."""
        label_n = label_n.long()
        loss_n = F.cross_entropy(logits_nc.float(), label_n.clamp(min=0), reduction="none")
        if self.gamma:
            # 1 − p by expm1 keeps its precision, and the floor its gradient finite, when p is nearly 1.
            loss_n = (-torch.expm1(-loss_n)).clamp(min=1e-12) ** self.gamma * loss_n
        known_n = label_n >= 0
        return torch.where(known_n, loss_n, 0.0), known_n

    def correct(self, logits_nc: Tensor, label_n: Tensor) -> Term:
        """Return the number of cells whose most probable class is the true one, over those with a known label."""
        known_n = label_n >= 0
        return term(((logits_nc.argmax(dim=1) == label_n) & known_n).sum(), known_n.sum())


class NumberLoss(CellLoss):
    """Squared error of a number, standardised by training cells: (ŷ − (y − mean) / std)², with std > 0."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def per_cell(self, predicted_n1: Tensor, number_n: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each cell, from its predicted standardised number, and which numbers are known."""
        known_n = ~torch.isnan(number_n)
        target_n = (torch.where(known_n, number_n, self.mean).float() - self.mean) / self.std
        return torch.where(known_n, (predicted_n1[:, 0].float() - target_n).square(), 0.0), known_n

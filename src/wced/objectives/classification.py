"""Losses of labels without a hierarchy."""

import torch
from torch import nn
from torch.nn import functional as F

from wced.objectives.term import Term, sum_of


class FlatLabelLoss(nn.Module):
    """Focal loss −(1 − p)^γ log p of the true class's probability p (Lin et al. 2017); γ = 0 is cross-entropy."""

    def __init__(self, gamma: float) -> None:
        """Take the focusing exponent γ ≥ 0."""
        super().__init__()
        self.gamma = gamma

    def per_cell(self, logits_nc: torch.Tensor, label_n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of every cell (float32, 0 where its code is −1), and which labels are known."""
        label_n = label_n.long()
        known_n = label_n >= 0
        log_p = -F.cross_entropy(logits_nc.float(), label_n.clamp(min=0), reduction="none")
        if self.gamma == 0:
            return torch.where(known_n, -log_p, 0.0), known_n
        # 1 − p by expm1 keeps its precision, and the floor its gradient finite, when p is nearly 1.
        loss_n = -((-torch.expm1(log_p)).clamp(min=1e-12) ** self.gamma) * log_p
        return torch.where(known_n, loss_n, 0.0), known_n

    def forward(self, logits_nc: torch.Tensor, label_n: torch.Tensor) -> Term:
        """Return the sum over the cells with a known label (code ≥ 0); others weigh nothing."""
        return sum_of(*self.per_cell(logits_nc, label_n))

    def correct(self, logits_nc: torch.Tensor, label_n: torch.Tensor) -> Term:
        """Return for how many cells with a known label the most probable class is the true one."""
        known_n = label_n >= 0
        return sum_of((logits_nc.argmax(dim=1) == label_n) & known_n, known_n)

"""Losses of labels without a hierarchy."""

import torch
from torch import nn
from torch.nn import functional as F


class FlatLabelLoss(nn.Module):
    """Focal loss −(1 − p)^γ log p of the true class's probability p (Lin et al. 2017); γ = 0 is cross-entropy."""

    def __init__(self, gamma: float) -> None:
        """Take the focusing exponent γ ≥ 0."""
        super().__init__()
        self.gamma = gamma

    def forward(self, logits_nc: torch.Tensor, label_n: torch.Tensor) -> torch.Tensor:
        """Return the loss of each cell with a known label (code ≥ 0); shape (known,), float32."""
        known = label_n >= 0
        log_p = -F.cross_entropy(logits_nc[known].float(), label_n[known].long(), reduction="none")
        if self.gamma == 0:
            return -log_p
        # 1 − p by expm1 keeps its precision, and the floor its gradient finite, when p is nearly 1.
        return -((-torch.expm1(log_p)).clamp(min=1e-12) ** self.gamma) * log_p

    def correct(self, logits_nc: torch.Tensor, label_n: torch.Tensor) -> torch.Tensor:
        """Return, per cell with a known label, whether the most probable class is the true one."""
        known = label_n >= 0
        return logits_nc[known].argmax(dim=1) == label_n[known]

"""What is read from embeddings: expression of genes, and labels of cells."""

import torch
from torch import nn
from torch.autograd import Function


class WholeCellDecoder(nn.Module):
    """Decode the detection logit and value of every gene from the CLS embedding, once per cell (paper, 12.5.2)."""

    def __init__(self, width: int, inner: int, vocabulary_size: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, inner), nn.GELU())
        self.detection = nn.Linear(inner, vocabulary_size)
        self.value = nn.Linear(inner, vocabulary_size)

    def forward(self, cls_nd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return detection logits (of being expressed) and values in log1p_10k, each (n, G)."""
        hidden = self.hidden(cls_nd)
        return self.detection(hidden), self.value(hidden)


class PositionDecoder(nn.Module):
    """Decode the detection logit and value of each given position's own gene (paper, 12.5.1)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, 2))

    def forward(self, hidden_md: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return detection logits and values, each (m,)."""
        return self.layers(hidden_md).unbind(dim=-1)


class GeneDecoder(nn.Sequential):
    """Decode which gene stands at a position whose gene is hidden; logits (m, G)."""

    def __init__(self, width: int, inner: int, vocabulary_size: int) -> None:
        super().__init__(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, vocabulary_size))


class LabelHead(nn.Sequential):
    """Classify the CLS embedding; the only place with dropout (paper, 4.3)."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes))


class _Reversal(Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor, coefficient: float) -> torch.Tensor:
        ctx.coefficient = coefficient
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.coefficient * gradient, None


def reversed_gradient(x: torch.Tensor, coefficient: float) -> torch.Tensor:
    """Return `x`, whose gradient comes back multiplied by −coefficient (Ganin & Lempitsky 2015; paper, 12.5.4)."""
    return _Reversal.apply(x, coefficient)

"""What is read from embeddings: expression of genes, and labels of cells."""

import torch
from torch import nn


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


class LabelHead(nn.Sequential):
    """Classify the CLS embedding; the only place with dropout (paper, 4.3)."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes))

"""Gene and value embeddings: what enters the encoder."""

import math

import torch
from torch import nn


class PeriodicEncoder(nn.Module):
    """Sines and cosines of trainable frequencies, then a linear layer (paper, section 12.3.5).

    e(x) = W [sin(2π f_1 x), …, sin(2π f_K x), cos(2π f_1 x), …, cos(2π f_K x)] + b
    """

    def __init__(self, frequencies: int, width: int) -> None:
        """Start from frequencies spaced evenly on a log scale from 0.01 to 8 periods per unit.

        The reference code doubles 0.01 47 times; above the 27th the phase exceeds float32's precision and is
        noise. Eight periods per unit of log1p_10k already tell apart neighbouring counts of any cell.
        """
        super().__init__()
        start, end = math.log(0.01), math.log(8.0)
        self.frequency = nn.Parameter(torch.exp(torch.linspace(start, end, frequencies)))
        self.project = nn.Linear(2 * frequencies, width)

    def forward(self, value_nl: torch.Tensor) -> torch.Tensor:
        """Encode log1p_10k values; shape (n, l) → (n, l, width). Phases are computed in float32."""
        with torch.autocast(value_nl.device.type, enabled=False):
            phase = 2 * math.pi * value_nl.float().unsqueeze(-1) * self.frequency.float()
            waves = torch.cat([phase.sin(), phase.cos()], dim=-1)
        return self.project(waves.to(self.project.weight.dtype))


class MLPEncoder(nn.Module):
    """A small fully connected network on the value (paper, section 12.3.5)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, value_nl: torch.Tensor) -> torch.Tensor:
        """Encode log1p_10k values; shape (n, l) → (n, l, width)."""
        return self.layers(value_nl.unsqueeze(-1).to(self.layers[0].weight.dtype))


class CellEmbedding(nn.Module):
    """Sum of a gene's embedding and its value's, with own tokens for zero and for a hidden value, after CLS tokens."""

    def __init__(
        self, vocabulary_size: int, width: int, value_encoder: str, frequencies: int, cls_positions: int = 1
    ) -> None:
        super().__init__()
        self.gene = nn.Embedding(vocabulary_size, width)
        self.value = PeriodicEncoder(frequencies, width) if value_encoder == "periodic" else MLPEncoder(width)
        self.zero = nn.Parameter(torch.zeros(width))
        self.mask = nn.Parameter(torch.zeros(width))
        self.cls = nn.Parameter(torch.zeros(cls_positions, width))

    def forward(self, gene_nl: torch.Tensor, value_nl: torch.Tensor, masked_nl: torch.Tensor) -> torch.Tensor:
        """Return input vectors, the k CLS tokens first; shape (n, k + l, width)."""
        value = self.value(value_nl)
        value = torch.where((value_nl == 0).unsqueeze(-1), self.zero.to(value.dtype), value)
        value = torch.where(masked_nl.unsqueeze(-1), self.mask.to(value.dtype), value)
        tokens = self.gene(gene_nl) + value
        cls = self.cls.to(tokens.dtype).expand(len(tokens), -1, -1)
        return torch.cat([cls, tokens], dim=1)

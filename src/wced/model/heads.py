"""What is read from embeddings: expression of genes, and labels of cells."""

import torch
from torch import nn
from torch.autograd import Function


class WholeCellDecoder(nn.Module):
    """Decode the detection logit and value of every gene from the CLS embedding, once per cell (paper, 12.5.2).

    It may be told the cell's depth, to which each gene answers by a slope of its own; scVI (Lopez et al. 2018) tells
    its decoder the library size for the same reason.
    """

    def __init__(self, width: int, inner: int, vocabulary_size: int, *, depth: bool) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, inner), nn.GELU())
        self.detection = nn.Linear(inner, vocabulary_size)
        self.value = nn.Linear(inner, vocabulary_size)
        self.depth = nn.Parameter(torch.zeros(2, vocabulary_size)) if depth else None

    def forward(self, cls_nd: torch.Tensor, depth_n: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return detection logits (of being expressed) and values in log1p_10k, each (n, G).

        `depth_n` is the log number of expressed genes in standard deviations from the mean; None stands for the mean.
        """
        hidden = self.hidden(cls_nd)
        logit_ng, value_ng = self.detection(hidden), self.value(hidden)
        if self.depth is None or depth_n is None:
            return logit_ng, value_ng
        slope_detection_g, slope_value_g = self.depth.to(logit_ng.dtype)
        depth_n1 = depth_n.to(logit_ng.dtype).unsqueeze(1)
        return torch.addcmul(logit_ng, depth_n1, slope_detection_g), torch.addcmul(value_ng, depth_n1, slope_value_g)


class PositionDecoder(nn.Module):
    """Decode the detection logit and value of each given position's own gene (paper, 12.5.1).

    It may be told the cell's depth. Then each gene also has an intercept and a slope of its own, as in the whole-cell
    decoder: what all cells share of a gene, and what depth says, is not the encoder's to learn.
    """

    def __init__(self, width: int, inner: int, vocabulary_size: int, *, depth: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, 2))
        self.intercept = nn.Parameter(torch.zeros(2, vocabulary_size)) if depth else None
        self.depth = nn.Parameter(torch.zeros(2, vocabulary_size)) if depth else None

    def forward(
        self, hidden_md: torch.Tensor, gene_m: torch.Tensor | None = None, depth_m: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return detection logits and values, each (m,).

        `gene_m` and `depth_m` are the genes of the positions and the depths of their cells, for a decoder that is told
        the depth; without `depth_m` cells are of the mean depth.
        """
        decoded_m2 = self.layers(hidden_md)
        if self.intercept is not None:
            if gene_m is None:
                raise ValueError("this decoder has an intercept for each gene: give gene, not inputs_embeds")
            decoded_m2 = decoded_m2 + self.intercept[:, gene_m].T
            if depth_m is not None:
                decoded_m2 = decoded_m2 + depth_m[:, None] * self.depth[:, gene_m].T
        return decoded_m2.unbind(dim=-1)


class GeneDecoder(nn.Sequential):
    """Decode which gene stands at a position whose gene is hidden; logits (m, G)."""

    def __init__(self, width: int, inner: int, vocabulary_size: int) -> None:
        super().__init__(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, vocabulary_size))


class LabelHead(nn.Sequential):
    """Classify the CLS embedding; the only place with dropout (paper, 4.3)."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, classes))


class Projection(nn.Sequential):
    """What a contrast of two views compares instead of the embedding itself, which keeps more (Chen et al. 2020)."""

    def __init__(self, width: int, projected: int) -> None:
        super().__init__(nn.Linear(width, width), nn.GELU(), nn.Linear(width, projected))


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

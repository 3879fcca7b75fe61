"""A bidirectional LLaMA without positions: the order of genes means nothing (paper, section 4.3)."""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from wced.model.cpu import Linear, bfloat16_attention


class Attention(nn.Module):
    """Multi-head attention of every position to every other, no causal mask, no rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Linear(width, width)
        self.key_value = Linear(width, 2 * width)
        self.out = Linear(width, width)

    def forward(self, x_nld: Tensor, present_nl: Tensor | None, queries: int | None) -> Tensor:
        """Attend from the first `queries` positions (None: all) to every present position."""
        n, _, width = x_nld.shape
        q = self.query(x_nld if queries is None else x_nld[:, :queries])
        k, v = self.key_value(x_nld).chunk(2, dim=-1)
        q, k, v = (part.view(n, -1, self.heads, width // self.heads).transpose(1, 2) for part in (q, k, v))
        mixed = self.mix(q, k, v, present_nl)
        return self.out(mixed.transpose(1, 2).reshape(n, -1, width))

    def initialise_average(self) -> None:
        """Initialise the matrices of values and of the output such that an average of the input keeps its length.

        Attention begins as an average over the genes, which is all that the CLS position sees of the cell.
        """
        width = self.out.in_features
        for weight in (self.key_value.weight[width:], self.out.weight):
            nn.init.normal_(weight, std=width**-0.5)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, present_nl: Tensor | None) -> Tensor:
        """Average values by the softmax of queries times keys; each (n, heads, positions, width of a head)."""
        if q.device.type == "cpu" and q.dtype == torch.bfloat16 and not torch.compiler.is_compiling():
            return bfloat16_attention(q, k, v, present_nl)
        mask = None if present_nl is None else present_nl[:, None, None, :]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class SwiGLU(nn.Module):
    """Feed-forward layer out(silu(gate(x)) · up(x)) (Shazeer 2020)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = Linear(width, 2 * inner)
        self.out = Linear(inner, width)

    def forward(self, x_nld: Tensor) -> Tensor:
        """Transform each position; shape is kept."""
        gate, up = self.gate_up(x_nld).chunk(2, dim=-1)
        return self.out(F.silu(gate) * up)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, attention: nn.Module, width: int, inner: int, *, attention_norm: bool = True) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=1e-6) if attention_norm else nn.Identity()
        self.attention = attention
        self.feed_forward_norm = nn.RMSNorm(width, eps=1e-6)
        self.feed_forward = SwiGLU(width, inner)

    def forward(self, x_nld: Tensor, present_nl: Tensor | None, queries: int | None = None) -> Tensor:
        """Return the block's output for the first `queries` positions (None: all)."""
        residual = x_nld if queries is None else x_nld[:, :queries]
        x_nld = residual + self.attention(self.attention_norm(x_nld), present_nl, queries)
        return x_nld + self.feed_forward(self.feed_forward_norm(x_nld))


class Stack(nn.Module):
    """Blocks and a final RMSNorm."""

    def __init__(self, blocks: Iterable[Block], width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.gradient_checkpointing = False
        # Transformers sets both attributes, this one to a function with its options.
        self._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def forward(self, x_nld: Tensor, present_nl: Tensor | None, queries: int | None = None) -> Tensor:
        """Encode vectors; shape (n, l, d).

        `present_nl` is False at padding; None means no padding, and needs no attention mask. Only the first `queries`
        positions are returned (None: all), and the last block computes no others.
        """
        for i, block in enumerate(self.blocks, 1):
            some = queries if i == len(self.blocks) else None
            if self.gradient_checkpointing and self.training:
                x_nld = self._gradient_checkpointing_func(block, x_nld, present_nl, some)
            else:
                x_nld = block(x_nld, present_nl, some)
        return self.norm(x_nld)


class Backbone(Stack):
    """The paper's encoder, whose first attention sees the lengths of the input embeddings: it has no norm before it."""

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        blocks = (Block(Attention(width, heads), width, inner, attention_norm=i > 0) for i in range(layers))
        super().__init__(blocks, width)

"""Faster versions of some operations of torch on CPUs, with the same results; docs/speed.md has the speedups.

A compiled model (`torch.compile`) uses torch's own operations, which the compiler knows.
"""

import ctypes
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

MKL_IS_SLOW = torch.backends.mkldnn.is_available() and "AMD" in torch.cpu.get_capabilities().get("cpu_name", "")
"""Whether torch multiplies float32 matrices by MKL on a processor for which MKL has no fast kernels."""

LARGE = 2**26
"""Multiply-adds of a product from which oneDNN pays: it takes half a millisecond for each new shape."""

SCORES = 2**21
"""Number of attention scores that stay in the cache between the two products that make and use them."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def bfloat16_pays() -> bool:
    """Return whether this processor multiplies matrices faster in bfloat16 than in float32.

    AMX does, and AMD's AVX-512. Intel's AVX-512 without AMX, which is what virtual machines often show, has the
    instructions too, but reaches 0.6 to 0.7 of the rate of float32 (docs/speed.md).
    """
    able = torch.cpu.get_capabilities()
    return able.get("amx_bf16", False) or (able.get("avx512_bf16", False) and "AMD" in able.get("cpu_name", ""))


def keep_freed_memory() -> None:
    """Let the process keep memory that a step frees for the next one, where the C library is glibc.

    By default each tensor above 32 MiB is mapped anew, and the kernel fills its pages with zeros each time.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 2**30)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _times_transposed(a_mk: Tensor, b_nk: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a_mk, b_nk, None, "none", [], "")


class _OneDNNLinear(Function):
    """x W' in float32, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_oi: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight_oi)
        return _times_transposed(x, weight_oi)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight_oi = ctx.saved_tensors
        x_mi, gradient_mo = x.flatten(0, -2), gradient.flatten(0, -2)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _times_transposed(gradient_mo, weight_oi.T).view(x.shape)
        if ctx.needs_input_grad[1]:  # the larger width as rows is faster
            if x_mi.shape[1] > gradient_mo.shape[1]:
                of_weight = _times_transposed(gradient_mo.T, x_mi.T)
            else:
                of_weight = _times_transposed(x_mi.T, gradient_mo.T).T
        return of_x, of_weight


class Linear(nn.Linear):
    """A linear layer without bias."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x W', (…, in) → (…, out)."""
        if (
            MKL_IS_SLOW
            and x.device.type == "cpu"
            and x.dtype == torch.float32
            and x.numel() * self.out_features >= LARGE
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        ):
            return _OneDNNLinear.apply(x, self.weight)
        return super().forward(x)


class _Attention(Function):
    """softmax(q k' / √e) v, whose scores are computed again in the backward pass instead of kept."""

    @staticmethod
    def forward(ctx: Any, q_bqe: Tensor, k_ble: Tensor, v_ble: Tensor, length_n: Sequence[int]) -> Tensor:
        ctx.save_for_backward(q_bqe, k_ble, v_ble)
        ctx.length_n = length_n
        mixed_bqe = torch.zeros_like(q_bqe)
        for queries, keys, weight_pql in _weights(q_bqe, k_ble, length_n):
            mixed_bqe[queries] = torch.bmm(weight_pql, v_ble[keys])
        return mixed_bqe

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_bqe: Tensor) -> tuple[Tensor | None, ...]:
        q_bqe, k_ble, v_ble = ctx.saved_tensors
        gradient_bqe = gradient_bqe.contiguous()
        of_q, of_k, of_v = torch.zeros_like(q_bqe), torch.zeros_like(k_ble), torch.zeros_like(v_ble)
        for queries, keys, weight_pql in _weights(q_bqe, k_ble, ctx.length_n):
            of_v[keys] = torch.bmm(weight_pql.mT, gradient_bqe[queries])
            of_weight = torch.bmm(gradient_bqe[queries], v_ble[keys].mT)
            of_scores = torch._softmax_backward_data(of_weight, weight_pql, -1, weight_pql.dtype)
            of_q[queries] = torch.bmm(of_scores, k_ble[keys])
            of_k[keys] = torch.bmm(of_scores.mT, q_bqe[queries])
        scale = q_bqe.shape[-1] ** -0.5
        return of_q.mul_(scale), of_k.mul_(scale), of_v, None


def _weights(
    q_bqe: Tensor, k_ble: Tensor, length_n: Sequence[int]
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], Tensor]]:
    """Yield the slices of queries and of keys (heads, positions) and their attention weights, some heads at a time.

    Positions that are padding in all of these cells are left out. The memory of the weights is reused.
    """
    heads_of_cell, queries = len(q_bqe) // len(length_n), q_bqe.shape[1]
    heads, scale = min(len(q_bqe), max(1, SCORES // (queries * k_ble.shape[1]))), q_bqe.shape[-1] ** -0.5
    length_b = torch.tensor(length_n).repeat_interleave(heads_of_cell)
    scores = q_bqe.new_empty(heads * queries * k_ble.shape[1])
    for start in range(0, len(q_bqe), heads):
        part = slice(start, min(start + heads, len(q_bqe)))
        part_length = length_b[part]
        longest = int(part_length.max())
        of_queries, of_keys = (part, slice(min(queries, longest))), (part, slice(longest))
        shape = len(part_length), min(queries, longest), longest
        scores_pql = scores[: math.prod(shape)].view(shape)
        torch.baddbmm(scores_pql, q_bqe[of_queries], k_ble[of_keys].mT, beta=0, alpha=scale, out=scores_pql)
        if part_length.min() < longest:
            padding_pl = torch.arange(longest) >= part_length[:, None]
            scores_pql.masked_fill_(padding_pl[:, None], -torch.inf)
        yield of_queries, of_keys, torch.softmax(scores_pql, -1, out=scores_pql)


def bfloat16_attention(q_nhqe: Tensor, k_nhle: Tensor, v_nhle: Tensor, present_nl: Tensor | None) -> Tensor:
    """Return attention in bfloat16, computed a few heads at a time and without padding; shaped as `q_nhqe`.

    The flash kernel of torch computes padding too, and in bfloat16 is no quicker than in float32. Scores are rounded to
    bfloat16, as by any product under autocast; the softmax is taken in float32.

    Queries, keys and values are cells × heads × positions × width of a head; `present_nl` is False at padding, which
    comes last (None: no padding). The result is 0 for queries behind the last position of all cells of a product.
    """
    n, _, length, _ = k_nhle.shape
    length_n = [length] * n if present_nl is None else present_nl.sum(1).tolist()
    with torch.autocast("cpu", enabled=False):
        mixed_bqe = _Attention.apply(*(part.flatten(0, 1) for part in (q_nhqe, k_nhle, v_nhle)), length_n)
    return mixed_bqe.view(q_nhqe.shape)

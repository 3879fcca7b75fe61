"""What torch does slowly on CPUs, done otherwise with the same result; docs/speed.md has what each of it brings.

A model that is compiled (`torch.compile`) uses torch's own operations, which the compiler knows.
"""

import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

MKL_IS_SLOW = torch.backends.mkldnn.is_available() and "AMD" in torch.cpu.get_capabilities().get("cpu_name", "")
"""Whether torch multiplies float32 matrices with MKL, but on a processor that MKL has no fast kernels for."""

LARGE = 2**26
"""Multiply-adds of a product that make up for half a millisecond, which oneDNN takes for a shape it has not had yet."""

SCORES = 2**21
"""Attention scores that stay in the cache between the two products that make and use them."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """Let the process keep the memory that a step frees for the next one, where the C library is glibc.

    By default each tensor above 32 MiB is mapped anew, and the kernel fills its pages with zeros again and again.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, 2**30)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _times_transposed(a_mk: torch.Tensor, b_nk: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(a_mk, b_nk, None, "none", [], "")


class _OneDNNLinear(Function):
    """x W' in float32, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight_oi: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight_oi)
        return _times_transposed(x, weight_oi)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, weight_oi = ctx.saved_tensors
        x_mi, gradient_mo = x.flatten(0, -2), gradient.flatten(0, -2)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _times_transposed(gradient_mo, weight_oi.T).view(x.shape)
        if ctx.needs_input_grad[1]:  # the larger width as rows is the quicker way round
            if x_mi.shape[1] > gradient_mo.shape[1]:
                of_weight = _times_transposed(gradient_mo.T, x_mi.T)
            else:
                of_weight = _times_transposed(x_mi.T, gradient_mo.T).T
        return of_x, of_weight


class Linear(nn.Linear):
    """A linear layer without bias."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
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
    """softmax(q k' / √e) v, whose scores are made again on the way back instead of kept."""

    @staticmethod
    def forward(
        ctx: Any, q_bqe: torch.Tensor, k_ble: torch.Tensor, v_ble: torch.Tensor, absent_b1l: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(q_bqe, k_ble, v_ble, absent_b1l)
        mixed_bqe = torch.empty_like(q_bqe)
        for part, weight_pql in _weights(q_bqe, k_ble, absent_b1l):
            torch.bmm(weight_pql, v_ble[part], out=mixed_bqe[part])
        return mixed_bqe

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_bqe: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q_bqe, k_ble, v_ble, absent_b1l = ctx.saved_tensors
        gradient_bqe = gradient_bqe.contiguous()
        of_q, of_k, of_v = torch.empty_like(q_bqe), torch.empty_like(k_ble), torch.empty_like(v_ble)
        for part, weight_pql in _weights(q_bqe, k_ble, absent_b1l):
            torch.bmm(weight_pql.mT, gradient_bqe[part], out=of_v[part])
            of_weight = torch.bmm(gradient_bqe[part], v_ble[part].mT)
            of_scores = torch._softmax_backward_data(of_weight, weight_pql, -1, weight_pql.dtype)
            torch.bmm(of_scores, k_ble[part], out=of_q[part])
            torch.bmm(of_scores.mT, q_bqe[part], out=of_k[part])
        scale = q_bqe.shape[-1] ** -0.5
        return of_q.mul_(scale), of_k.mul_(scale), of_v, None


def _weights(
    q_bqe: torch.Tensor, k_ble: torch.Tensor, absent_b1l: torch.Tensor | None
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield some heads at a time and their attention weights, in memory that is used again for the next."""
    heads, scale = max(1, SCORES // (q_bqe.shape[1] * k_ble.shape[1])), q_bqe.shape[-1] ** -0.5
    scores = q_bqe.new_empty(min(heads, len(q_bqe)), q_bqe.shape[1], k_ble.shape[1])
    for start in range(0, len(q_bqe), heads):
        part = slice(start, min(start + heads, len(q_bqe)))
        scores_pql = scores[: part.stop - start]
        torch.baddbmm(scores_pql, q_bqe[part], k_ble[part].mT, beta=0, alpha=scale, out=scores_pql)
        if absent_b1l is not None:
            scores_pql.masked_fill_(absent_b1l[part], -torch.inf)
        yield part, torch.softmax(scores_pql, -1, out=scores_pql)


def bfloat16_attention(
    q_nhqe: torch.Tensor, k_nhle: torch.Tensor, v_nhle: torch.Tensor, present_nl: torch.Tensor | None
) -> torch.Tensor:
    """Attend in bfloat16, for which torch's flash kernel is no quicker than for float32; a few heads at a time.

    Scores are rounded to bfloat16, as by any other product under autocast; the softmax is taken in float32.

    Parameters
    ----------
    q_nhqe, k_nhle, v_nhle
        Queries, keys and values: cells × heads × positions × width of a head.
    present_nl
        bool: which keys are there, None for all.

    Returns
    -------
    torch.Tensor
        As `q_nhqe`.
    """
    absent_b1l = None if present_nl is None else ~present_nl.repeat_interleave(q_nhqe.shape[1], 0).unsqueeze(1)
    with torch.autocast("cpu", enabled=False):
        mixed_bqe = _Attention.apply(*(part.flatten(0, 1) for part in (q_nhqe, k_nhle, v_nhle)), absent_b1l)
    return mixed_bqe.view(q_nhqe.shape)

"""What the device can do at best, and the largest memory of a process or GPU."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from torch.nn import functional as F

from wced.model.cpu import Linear
from wced.resources import peak_resident

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SQUARE = {"cpu": 2048, "cuda": 8192}
"""Side of the square product; on a GPU the largest of those that usually reach its peak."""

CALLS = {"cpu": 1, "cuda": 20}
"""Products timed together."""


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


class MatmulPeak:
    """The best rate of some matrix products.

    Each is made once a turn, so that the machine's moods hit these alike and what is measured between the turns.
    """

    def __init__(self, device: str, precision: str, positions: int, width: int, inner: int) -> None:
        """Make the operands.

        Parameters
        ----------
        device, precision
            `cpu` or `cuda`; `fp32` or `bf16`.
        positions, width, inner
            Shape of the model's own products: positions of a batch, model width and feed-forward width.
        """
        self.device = device
        self.best = {"matmul": 0.0, "linear": 0.0}
        """FLOP/s by what made the product: torch.matmul, or the model's linear layer."""
        side = SQUARE[device]
        self._products: list[tuple[str, float, Callable[[], torch.Tensor]]] = []
        for rows, inside, columns in ((side, side, side), (positions, width, 2 * inner), (positions, inner, width)):
            layer = Linear(inside, columns).to(device, DTYPES[precision]).requires_grad_(False)
            x = torch.randn(rows, inside, device=device, dtype=DTYPES[precision])
            flops = 2.0 * rows * inside * columns
            self._products.append(("matmul", flops, lambda x=x, layer=layer: F.linear(x, layer.weight)))
            self._products.append(("linear", flops, lambda x=x, layer=layer: layer(x)))
        self.turn()
        self.best = dict.fromkeys(self.best, 0.0)

    def turn(self) -> None:
        """Make every product once, and keep the best rates."""
        for name, flops, product in self._products:
            synchronize(self.device)
            start = perf_counter()
            for _ in range(CALLS[self.device]):
                product()
            synchronize(self.device)
            rate = CALLS[self.device] * flops / (perf_counter() - start)
            self.best[name] = max(self.best[name], rate)


def reset_peak(device: str) -> None:
    """Begin a new measurement of `peak_mb`, with nothing in memory that nobody needs."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: str) -> float:
    """Return the largest memory since `reset_peak` in MB: resident memory of the process, or tensors on the GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return peak_resident()

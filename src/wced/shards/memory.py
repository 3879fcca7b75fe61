"""Reused memory for batches: new memory from the system costs as much as reading the cells."""

import math
import sys
import threading
from itertools import accumulate

import numpy as np

MOST_BLOCKS = 16
"""Blocks that are kept for each thread; who holds more batches gets new memory."""

ALIGNMENT = 64
"""Arrays begin at multiples of a cache line."""


def _references(blocks: list[np.ndarray], i: int) -> int:
    return sys.getrefcount(blocks[i])


_FREE = _references([np.empty(0, np.uint8)], 0)
"""References to a block that only its list holds, as this interpreter counts them."""


class _Blocks(threading.local):
    """Blocks of a thread. One is free when only this list refers to it: no array or tensor is a view of it."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []

    def take(self, size: int) -> np.ndarray:
        for i in range(len(self._blocks)):
            if _references(self._blocks, i) == _FREE:
                if self._blocks[i].nbytes < size:
                    self._blocks[i] = np.empty(size + size // 4, np.uint8)
                return self._blocks[i]
        block = np.empty(size + size // 4, np.uint8)
        if len(self._blocks) < MOST_BLOCKS:
            self._blocks.append(block)
        return block


_blocks = _Blocks()


def arrays(shapes: dict[str, tuple[tuple[int, ...], type]]) -> dict[str, np.ndarray]:
    """Return uninitialised arrays of these shapes and types, in one block of memory.

    The block is used again when all of them, and everything that shares their memory, are gone.
    """
    sizes = [math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in shapes.values()]
    starts = [0, *accumulate(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)]
    block = _blocks.take(starts[-1])
    return {
        name: block[start : start + size].view(dtype).reshape(shape)
        for (name, (shape, dtype)), start, size in zip(shapes.items(), starts, sizes, strict=False)
    }

"""Which cells the steps of an epoch hold."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from wced.shards.blocks import Blocks
from wced.shards.order import CellSource, Order
from wced.shards.streams import BlockStream, RoundRobin, buffer_cache


class Run(NamedTuple):
    """Steps that follow each other in a stream of cells."""

    stream: int
    """Which stream."""
    bounds: tuple[int, ...]
    """(steps + 1,): where the steps begin and end, in samples from the beginning of the stream."""
    at: int
    """Which of them the step is that was asked for, from 0."""


class EpochOrder:
    """Cells of a split in the order of each epoch, seeded by (seed, epoch): one stream for all cells.

    Epochs follow each other in the stream. Step s of S of an epoch of N cells holds the cells from ⌊N·s/S⌋ to
    ⌊N·(s+1)/S⌋ of the epoch.
    """

    streams = 1
    """Streams from which steps take their cells."""

    def __init__(self, source: CellSource, split: str, order: Order, seed: int) -> None:
        """Prepare an order; classes of cells are counted when they are first needed."""
        self.order, self._seed = order, seed
        self._blocks = Blocks(source, split, order)
        cells = int(self._blocks.cells.sum())
        self._length = cells if order.epoch_cells is None or not cells else order.epoch_cells

    def __len__(self) -> int:
        """Return the number of cells that an epoch visits."""
        return self._length

    @property
    def advances(self) -> bool:
        """Whether each epoch has an order of its own."""
        return self.order.strategy != "sequential"

    def cells(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return the places of the cells that an epoch visits as its start-th to stop-th (exclusive); int64."""
        return self._stream.cells(epoch * self._length + start, epoch * self._length + stop)

    def run(self, epoch: int, step: int, steps: int, most: int) -> Run:
        """Return up to `most` steps of an epoch of `steps`, the given step among them, that follow each other."""
        first = step // most * most
        number = range(first, min(first + most, steps) + 1)
        begin = epoch * self._length
        return Run(0, tuple(begin + self._length * s // steps for s in number), step - first)

    def taken(self, stream: int, start: int, stop: int) -> np.ndarray:
        """Return the places of the start-th to stop-th (exclusive) samples of a stream; int64."""
        return self._stream.cells(start, stop)

    def passes(self, epoch: int, step: int, steps: int) -> int:
        """Return how many whole passes over the cells of its stream there were before a step."""
        return self.run(epoch, step, steps, 1).bounds[0] // self._stream.length

    @cached_property
    def _stream(self) -> BlockStream | RoundRobin:
        if self.order.strategy == "round_robin":
            return RoundRobin(self._blocks, self._seed)
        # Two buffers: threads that make batches ahead may still be at the end of one when others begin the next.
        return BlockStream(
            self._blocks, self._blocks.parts(), (self._seed,), self.order.buffer_blocks, buffer_cache(2),
            shuffled=self.order.strategy != "sequential",
        )  # fmt: skip

"""Which cells the steps of an epoch hold."""

from functools import cached_property, lru_cache
from typing import NamedTuple, Protocol

import numpy as np

from wced.shards.blocks import Blocks
from wced.shards.order import CellSource, Order
from wced.shards.streams import BlockStream, RoundRobin, buffer_cache

GOLDEN_RATIO = (5**0.5 - 1) / 2


class Run(NamedTuple):
    """Steps that follow each other in a stream of cells."""

    stream: int
    """Number of the stream."""
    bounds: tuple[int, ...]
    """(steps + 1,): where the steps begin and end, in samples from the beginning of the stream."""
    at: int
    """Which of them the step is that was asked for, from 0."""


class StepOrder(Protocol):
    """Order of a split's cells over the steps of epochs."""

    order: Order
    """Its settings."""
    streams: int
    """Number of streams from which steps take their cells."""

    def __len__(self) -> int:
        """Return the number of cells that an epoch visits; with `one_dataset` up to one more for each step."""

    def run(self, epoch: int, step: int, steps: int, most: int) -> Run:
        """Return up to `most` steps that follow each other in one stream, the given step of an epoch among them."""

    def taken(self, stream: int, start: int, stop: int) -> np.ndarray:
        """Return the places of the start-th to stop-th (exclusive) samples of a stream; int64."""

    def turn(self, epoch: int, step: int, steps: int) -> int:
        """Return what, with a cell, seeds its input in a step: see `turn_of`."""


def turn_of(order: Order, begin: int, length: int) -> int:
    """Return the turn of a step that begins with the `begin`-th sample of a stream of `length` cells.

    It is the number of whole passes over the cells before; or, where a pass has cells several times, the sample itself,
    so that their inputs differ.
    """
    return begin if order.strategy in ("weighted", "round_robin") else begin // length


def step_order(source: CellSource, split: str, order: Order, seed: int) -> StepOrder:
    """Return the order of a split's cells that the settings ask for.

    Raises
    ------
    ValueError
        If batches of one dataset are asked for with a strategy that has none.
    WcedError
        If the source lacks a column of `order.columns`.
    """
    return (EpochOrder if order.batches == "mixed" else DatasetOrder)(source, split, order, seed)


class EpochOrder:
    """Mixed steps: one stream for all cells of a split.

    Epochs follow each other in the stream. Step s of S of an epoch of N cells holds the cells from ⌊N·s/S⌋ to
    ⌊N·(s+1)/S⌋ of the epoch.
    """

    streams = 1

    def __init__(self, source: CellSource, split: str, order: Order, seed: int) -> None:
        """Prepare an order; classes of cells are counted when they are first needed."""
        self.order, self._seed = order, seed
        self._blocks = Blocks(source, split, order)
        cells = int(self._blocks.cells.sum())
        self._length = cells if order.epoch_cells is None or not cells else order.epoch_cells

    def __len__(self) -> int:
        """Return the number of cells that an epoch visits."""
        return self._length

    def cells(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return the places of the cells that an epoch visits as its start-th to stop-th (exclusive); int64."""
        return self._stream.cells(epoch * self._length + start, epoch * self._length + stop)

    def run(self, epoch: int, step: int, steps: int, most: int) -> Run:
        """Return up to `most` steps of the epoch, the given one among them."""
        first = step // most * most
        number = range(first, min(first + most, steps) + 1)
        begin = epoch * self._length
        return Run(0, tuple(begin + self._length * s // steps for s in number), step - first)

    def taken(self, stream: int, start: int, stop: int) -> np.ndarray:
        """Return the places of the start-th to stop-th (exclusive) samples of the stream; int64."""
        return self._stream.cells(start, stop)

    def turn(self, epoch: int, step: int, steps: int) -> int:
        """Return what, with a cell, seeds its input in a step."""
        return turn_of(self.order, self.run(epoch, step, steps, 1).bounds[0], self._stream.length)

    @cached_property
    def _stream(self) -> BlockStream | RoundRobin:
        if self.order.strategy == "round_robin":
            return RoundRobin(self._blocks, self._seed)
        # Two buffers: threads that make batches ahead may still be at the end of one when others begin the next.
        return BlockStream(
            self._blocks, self._blocks.parts(), (self._seed,), self.order.buffer_blocks, buffer_cache(2),
            shuffled=self.order.advances,
        )  # fmt: skip


class DatasetOrder:
    """Steps of one dataset each: every dataset has a stream of its own, which goes on from epoch to epoch.

    All S steps of an epoch of N cells hold ⌈N / S⌉ samples. Dataset d, whose cells' weights sum to W_d (their number,
    without weights), gets each of the S steps with probability W_d / N, by systematic sampling: on a circle of
    circumference S a dataset has an arc of S · W_d / N, and epoch e gives a step to each of the points i + phase(e). So
    a dataset has ⌊S · W_d / N⌋ or ⌈S · W_d / N⌉ steps of an epoch, and the phases, which lie apart by the golden
    ratio, give their turn even to datasets that have less than one. The steps then stand in random order, and each goes
    on where the last step of its dataset ended. So a cell is expected as often as in mixed batches, and no remainder
    is lost: what a step leaves is the beginning of the dataset's next one, be it in the next epoch. Of a
    dataset that has fewer cells than a step, cells are repeated in it.
    """

    def __init__(self, source: CellSource, split: str, order: Order, seed: int) -> None:
        """Prepare an order; counts the datasets of all cells."""
        if order.strategy not in ("shuffled", "weighted"):
            raise ValueError(f"order: batches of one dataset are shuffled or weighted, not {order.strategy}")
        self.order, self._seed = order, seed
        blocks = Blocks(source, split, order)
        cells = int(blocks.cells.sum())
        self._length = cells if order.epoch_cells is None or not cells else order.epoch_cells
        parts = blocks.parts_by_dataset() if cells else []
        # One buffer for each dataset and one more; those of rare datasets, which are small, are made again.
        buffers = buffer_cache(len(parts) + 1)
        self._streams = [
            BlockStream(blocks, part, (seed, 1 + number), order.buffer_blocks, buffers)
            for number, part in enumerate(parts)
        ]
        self.streams = len(parts)
        share = np.cumsum([part.total for part in parts])
        self._ends = share / share[-1:]
        self._phase = np.random.default_rng((seed, 0)).random()
        self._turns = lru_cache(1)(self._made_turns)

    def __len__(self) -> int:
        return self._length

    def run(self, epoch: int, step: int, steps: int, most: int) -> Run:
        """Return `most` steps of the step's dataset, in this epoch and its neighbours."""
        stream_s, number_s = self._turns(epoch, steps)
        first = number_s[step] // most * most
        size = -(-self._length // steps)
        bounds = range(size * first, size * (first + most) + 1, size)
        return Run(int(stream_s[step]), tuple(bounds), int(number_s[step]) - first)

    def taken(self, stream: int, start: int, stop: int) -> np.ndarray:
        """Return the places of the start-th to stop-th (exclusive) samples of a dataset's stream; int64."""
        return self._streams[stream].cells(start, stop)

    def turn(self, epoch: int, step: int, steps: int) -> int:
        """Return what, with a cell, seeds its input in a step."""
        run = self.run(epoch, step, steps, 1)
        return turn_of(self.order, run.bounds[0], self._streams[run.stream].length)

    def _made_turns(self, epoch: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the stream of each step, and how many steps of it there were before, in all epochs; (steps,)."""
        before = sum((self._number_of(e, steps) for e in range(epoch)), np.zeros(self.streams, np.int64))
        number_of = self._number_of(epoch, steps)
        rng = np.random.default_rng((self._seed, 0, 1 + epoch))
        stream_s = rng.permutation(np.repeat(np.arange(self.streams), number_of))
        number_s = np.empty(steps, np.int64)
        begins = np.cumsum(number_of) - number_of
        number_s[np.argsort(stream_s, kind="stable")] = np.arange(steps) + np.repeat(before - begins, number_of)
        return stream_s, number_s

    def _number_of(self, epoch: int, steps: int) -> np.ndarray:
        """Return how many steps of an epoch each dataset has; int64."""
        ends = np.ceil(steps * self._ends - (self._phase + epoch * GOLDEN_RATIO) % 1)
        ends[-1] = steps  # also where the phase is so close to 1 that the difference is rounded
        return np.diff(ends, prepend=0).astype(np.int64)

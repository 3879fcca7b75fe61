"""Which cells the steps of an epoch hold: parts of endless streams of cells.

Cells are read from disk in *blocks* of consecutive ones; the blocks of a pass are in random order, and each run of them
is a *buffer* within which cells are shuffled. With buffers of many blocks a batch is as mixed as after a full shuffle
(docs/throughput.md has the entropies), while the disk sees reads of a megabyte, not of a cell.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numba
import numpy as np

from wced.config.pretraining import Order
from wced.shards.blocks import Blocks, Parts, sample_offset, times_sampled
from wced.shards.cells import CellSource
from wced.shards.counter_random import GOLDEN, mixed, permuted

GOLDEN_RATIO = (5**0.5 - 1) / 2


class Stream(ABC):
    """An endless stream of cells: pass after pass, each of `length` samples in an order of its own."""

    length: int

    def cells(self, start: int, stop: int) -> np.ndarray:
        """Return the rows of the samples from start to stop (exclusive); int64."""
        parts = [np.empty(0, np.int64)]
        while start < stop:
            number, begin = divmod(start, self.length)
            end = min(begin + stop - start, self.length)
            parts += self._part(number, begin, end)
            start += end - begin
        return np.concatenate(parts)

    @abstractmethod
    def _part(self, number: int, begin: int, end: int) -> Iterable[np.ndarray]:
        """Return the samples of a pass from begin to end, in one piece or several."""


class BlockStream(Stream):
    """Cells of some blocks, shuffled within buffers; in a pass each comes as often as its weight says.

    A pass has as many samples as cells, or where they have weights the sum of these, rounded, at least 1.
    """

    def __init__(
        self,
        blocks: Blocks,
        parts: Parts,
        seed: tuple[int, ...],
        buffers: Callable[["BlockStream", int, int], np.ndarray],
    ) -> None:
        """Prepare a stream of the cells of some parts; `buffers` is `buffer` with a cache, which streams may share."""
        self._blocks, self._parts, self._seed, self._buffers = blocks, parts, seed, buffers
        self._pass = lru_cache(1)(self._plan)
        count = len(parts.block)
        n = max(1, count // blocks.order.buffer_blocks)
        self._first = np.arange(n + 1) * count // n
        self.length = int(parts.cells.sum())
        if parts.weight is not None and self.length:
            self.length = max(1, round(parts.total))
            self._scale = self.length / parts.total
            # Bounds of the parts when all cells are stretches of a line, each as long as its weight.
            self._ends = np.concatenate([[0.0], np.cumsum(parts.weight) * self._scale])
            self._ends[-1] = self.length

    def _part(self, number: int, begin: int, end: int) -> Iterable[np.ndarray]:
        starts = self._pass(number)[1]
        for k in range(int(np.searchsorted(starts, begin, side="right")) - 1, len(starts) - 1):
            if starts[k] >= end:
                break
            yield self._buffers(self, number, k)[max(begin - starts[k], 0) : end - starts[k]]

    def _plan(self, number: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the order of a pass's parts, where its buffers begin (in samples), and its start of the sampling."""
        parts = self._parts
        rng = np.random.default_rng((*self._seed, number))
        order = rng.permutation(len(parts.block)) if self._blocks.shuffled else np.arange(len(parts.block))
        offset = sample_offset(rng)
        samples = parts.cells
        if parts.weight is not None:
            samples = np.diff(np.floor(self._ends + offset)).astype(np.int64)
        return order, np.concatenate([[0], np.cumsum(samples[order])])[self._first], offset

    def buffer(self, number: int, k: int) -> np.ndarray:
        """Return the rows of the k-th buffer of a pass, in their order; int64."""
        order, _, offset = self._pass(number)
        parts = order[self._first[k] : self._first[k + 1]]
        rows = self._blocks.places(self._parts.block[parts])
        if self._parts.dataset is not None:
            rows = rows[self._blocks.source.column("dataset", rows) == self._parts.dataset]
        if self._parts.weight is not None:
            weight, cells = self._blocks.weights(rows) * self._scale, self._parts.cells[parts]
            rows = np.repeat(rows, times_sampled(weight, cells, self._ends[parts], self._ends[parts + 1], offset))
        if self._blocks.shuffled:
            rows = np.random.default_rng((*self._seed, number, k)).permutation(rows)
        return rows


class RoundRobin(Stream):
    """One cell of each class in turn; 8 bytes a cell. A pass has as many samples as cells."""

    def __init__(self, blocks: Blocks, seed: int) -> None:
        """Group the cells of all blocks by class."""
        parts = [blocks.classes.of(rows).astype(np.int32) for _, rows in blocks.chunks()]
        by_class = np.argsort(np.concatenate([*parts, np.empty(0, np.int32)]), kind="stable")
        self._grouped = blocks.source.places(blocks.split)[by_class]
        self._class_starts = np.concatenate([[0], np.cumsum(blocks.classes.number_of)])
        self._seed, self.length = seed, len(self._grouped)

    def _part(self, number: int, begin: int, end: int) -> Iterable[np.ndarray]:
        rng = np.random.default_rng((self._seed, number))
        keys = rng.integers(0, 2**63, len(self._class_starts) - 1, np.int64)
        return [_round_robin(self._grouped, self._class_starts, keys, begin, end)]


@numba.njit(nogil=True, cache=True)
def _round_robin(grouped, class_starts, keys, start, stop):
    """Return the cells from start to stop of a cycle over classes, each in a random order in every lap over it."""
    classes = len(class_starts) - 1
    cells = np.empty(max(stop - start, 0), np.int64)
    for position in range(start, stop):
        turn, c = position // classes, position % classes
        n = class_starts[c + 1] - class_starts[c]
        key = mixed(np.uint64(keys[c]) + np.uint64(turn // n) * GOLDEN)
        cells[position - start] = grouped[class_starts[c] + permuted(turn % n, n, key)]
    return cells


class Run(NamedTuple):
    """Consecutive steps of a stream of cells."""

    stream: int
    bounds: tuple[int, ...]
    """(steps + 1,): where the steps begin and end, in samples from the beginning of the stream."""
    at: int
    """Index of the requested step among them."""


class StepOrder(ABC):
    """Order of a split's cells over the steps of epochs; cells are those of `streams` streams."""

    streams: int
    _streams: Sequence[Stream]

    def __init__(self, source: CellSource, split: str, order: Order | None, seed: int) -> None:
        """Cut a split into blocks; without an order every epoch is in the order of the source."""
        self.blocks, self._seed = Blocks(source, split, order), seed
        self.order = self.blocks.order
        cells = int(self.blocks.cells.sum())
        self._length = self.order.epoch_cells or cells if cells else 0

    def __len__(self) -> int:
        """Return the number of cells that an epoch visits; of `DatasetOrder`, up to one more for each step."""
        return self._length

    @abstractmethod
    def run(self, epoch: int, step: int, steps: int, most: int) -> Run:
        """Return up to `most` consecutive steps of one stream, the given step of an epoch of `steps` among them."""

    def cells(self, stream: int, start: int, stop: int) -> np.ndarray:
        """Return the rows of the samples of a stream from start to stop (exclusive); int64."""
        return self._streams[stream].cells(start, stop)

    def turn(self, epoch: int, step: int, steps: int) -> int:
        """Return what, with a cell, seeds its input in a step: the number of whole passes over the cells before.

        Where a pass has cells several times it is the step's first sample in the stream, so that their inputs differ.
        """
        run = self.run(epoch, step, steps, 1)
        repeats = self.order.strategy in ("weighted", "round_robin")
        return run.bounds[0] if repeats else run.bounds[0] // self._streams[run.stream].length


class EpochOrder(StepOrder):
    """Mixed steps: one stream of all cells of a split, in which epochs follow each other.

    Step s of S of an epoch of N cells holds the cells from ⌊N·s/S⌋ to ⌊N·(s+1)/S⌋ of the epoch.
    """

    streams = 1

    def run(self, epoch: int, step: int, steps: int, most: int) -> Run:
        """Return up to `most` steps of the epoch."""
        first = step // most * most
        number = range(first, min(first + most, steps) + 1)
        begin = epoch * self._length
        return Run(0, tuple(begin + self._length * s // steps for s in number), step - first)

    @cached_property
    def _streams(self) -> Sequence[Stream]:
        """The stream; classes of cells are counted when it is first needed."""
        if self.order.strategy == "round_robin":
            return [RoundRobin(self.blocks, self._seed)]
        # Two buffers: threads that make batches ahead may still be at the end of one when others begin the next.
        buffers = lru_cache(2)(BlockStream.buffer)
        return [BlockStream(self.blocks, self.blocks.parts(), (self._seed,), buffers)]


class DatasetOrder(StepOrder):
    """Steps of one dataset each: every dataset has a stream of its own, which goes on from epoch to epoch.

    All S steps of an epoch of N cells hold ⌈N / S⌉ samples. Dataset d, whose cells' weights sum to W_d (their number,
    without weights), gets each step with probability W_d / N, by systematic sampling: on a circle of circumference S a
    dataset has an arc of S · W_d / N, and epoch e gives a step to each of the points i + phase(e). So it has
    ⌊S · W_d / N⌋ or ⌈S · W_d / N⌉ steps of an epoch, and the phases, apart by the golden ratio, give their turn even to
    datasets with less than one. Steps are in random order, and each continues where the last step of its dataset ended:
    a cell is expected as often as in mixed batches, and none is lost at the end of an epoch.
    """

    def __init__(self, source: CellSource, split: str, order: Order, seed: int) -> None:
        """Prepare an order; counts the datasets of all cells."""
        super().__init__(source, split, order, seed)
        parts = self.blocks.parts_by_dataset() if self._length else []
        # One buffer for each dataset and one more; those of rare datasets, which are small, are made again.
        buffers = lru_cache(len(parts) + 1)(BlockStream.buffer)
        self._streams = [
            BlockStream(self.blocks, part, (seed, 1 + number), buffers) for number, part in enumerate(parts)
        ]
        self.streams = len(parts)
        share = np.cumsum([part.total for part in parts])
        self._ends = share / share[-1:]
        self._phase = np.random.default_rng((seed, 0)).random()
        self._turns = lru_cache(1)(self._new_turns)

    def run(self, epoch: int, step: int, steps: int, most: int) -> Run:
        """Return `most` steps of the step's dataset, in this epoch and its neighbours."""
        stream_s, number_s = self._turns(epoch, steps)
        first = number_s[step] // most * most
        size = -(-self._length // steps)
        bounds = range(size * first, size * (first + most) + 1, size)
        return Run(int(stream_s[step]), tuple(bounds), int(number_s[step]) - first)

    def _new_turns(self, epoch: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the stream of each step, and how many steps of it came before, in all epochs; (steps,)."""
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

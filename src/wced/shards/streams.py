"""Endless streams of cells: pass after pass, each in an order of its own, without holding a number for every cell.

Cells are read from disk in *blocks* that lie together; the blocks of a pass stand in random order, and each run of
them is a *buffer* within which cells are shuffled. With buffers of many blocks a batch is as mixed as after a full
shuffle (docs/throughput.md has the entropies), while the disk sees reads of a megabyte, not of a cell.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numba
import numpy as np

from wced.shards.blocks import Blocks, Parts, sample_offset, times_sampled
from wced.shards.draws import mixed, permuted


def buffer_cache(most: int) -> Callable[["BlockStream", int, int], np.ndarray]:
    """Return `BlockStream.buffer` with a memory of the results used last, for streams to share."""
    return lru_cache(most)(BlockStream.buffer)


class BlockStream:
    """Cells of some blocks, shuffled within buffers; in a pass each comes as often as its weight says.

    Attributes
    ----------
    length
        Samples of a pass: the cells, or where they have weights the sum of these, rounded, at least 1.
    """

    def __init__(
        self,
        blocks: Blocks,
        parts: Parts,
        seed: tuple[int, ...],
        buffer_blocks: int,
        buffers: Callable[["BlockStream", int, int], np.ndarray],
        *,
        shuffled: bool = True,
    ) -> None:
        """Prepare a stream.

        Parameters
        ----------
        blocks, parts
            Blocks of the split, and those from which this stream takes cells.
        seed
            Seed of its passes.
        buffer_blocks
            Smallest number of blocks in a buffer, where there are as many.
        buffers
            What `buffer_cache` returned.
        shuffled
            Whether cells are shuffled; if not, every pass is in the order of the blocks.
        """
        self._blocks, self._parts, self._seed, self._buffers, self._shuffled = blocks, parts, seed, buffers, shuffled
        count = len(parts.block)
        n = max(1, count // buffer_blocks)
        self._first = np.arange(n + 1) * count // n
        self.length = int(parts.cells.sum())
        if parts.weight is not None:
            self.length = max(1, round(parts.total))
            self._scale = self.length / parts.total
            # Where parts begin and end when all cells stand on a line, each as long as its weight.
            self._ends = np.concatenate([[0.0], np.cumsum(parts.weight) * self._scale])
            self._ends[-1] = self.length
        self._plan: tuple[int, np.ndarray, np.ndarray, float] | None = None

    def cells(self, start: int, stop: int) -> np.ndarray:
        """Return the places of the start-th to stop-th (exclusive) samples of the stream; int64."""
        found = [np.empty(0, np.int64)]
        for number, begin, end in _passes(start, stop, self.length):
            starts = self._pass(number)[2]
            for k in range(int(np.searchsorted(starts, begin, side="right")) - 1, len(starts) - 1):
                if starts[k] >= end:
                    break
                buffer = self._buffers(self, number, k)
                found.append(buffer[max(begin - starts[k], 0) : end - starts[k]])
        return np.concatenate(found) if len(found) != 2 else found[1]

    def _pass(self, number: int) -> tuple[int, np.ndarray, np.ndarray, float]:
        """Return the order of a pass's parts, where its buffers begin (in samples), and its start of the sampling."""
        if self._plan is None or self._plan[0] != number:
            parts = self._parts
            rng = np.random.default_rng((*self._seed, number))
            order = rng.permutation(len(parts.block)) if self._shuffled else np.arange(len(parts.block))
            offset = sample_offset(rng)
            samples = parts.cells
            if parts.weight is not None:
                samples = np.diff(np.floor(self._ends + offset)).astype(np.int64)
            starts = np.concatenate([[0], np.cumsum(samples[order])])[self._first]
            self._plan = number, order, starts, offset
        return self._plan

    def buffer(self, number: int, k: int) -> np.ndarray:
        """Return the places of the k-th buffer of a pass, in their order; int64."""
        _, order, _, offset = self._pass(number)
        parts = order[self._first[k] : self._first[k + 1]]
        places = self._blocks.places(self._parts.block[parts])
        if self._parts.dataset is not None:
            places = places[self._blocks.source.column("dataset", places) == self._parts.dataset]
        if self._parts.weight is not None:
            weight, cells = self._blocks.weights(places) * self._scale, self._parts.cells[parts]
            places = np.repeat(places, times_sampled(weight, cells, self._ends[parts], self._ends[parts + 1], offset))
        if self._shuffled:
            places = np.random.default_rng((*self._seed, number, k)).permutation(places)
        return places


class RoundRobin:
    """One cell of each class in turn; 8 bytes a cell.

    Attributes
    ----------
    length
        Samples of a pass, as many as there are cells.
    """

    def __init__(self, blocks: Blocks, seed: int) -> None:
        """Group the cells of all blocks by class."""
        parts = [blocks.classes.of(places).astype(np.int32) for _, places in blocks.chunks()]
        by_class = np.argsort(np.concatenate([*parts, np.empty(0, np.int32)]), kind="stable")
        self._grouped = blocks.source.places(blocks.split)[by_class]
        self._class_starts = np.concatenate([[0], np.cumsum(blocks.classes.number_of)])
        self._seed, self.length = seed, len(self._grouped)

    def cells(self, start: int, stop: int) -> np.ndarray:
        """Return the places of the start-th to stop-th (exclusive) samples of the stream; int64."""
        found = [np.empty(0, np.int64)]
        for number, begin, end in _passes(start, stop, self.length):
            rng = np.random.default_rng((self._seed, number))
            keys = rng.integers(0, 2**63, len(self._class_starts) - 1, np.int64)
            found.append(_round_robin(self._grouped, self._class_starts, keys, begin, end))
        return np.concatenate(found)


def _passes(start: int, stop: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield the passes that hold the samples from start to stop, and where in each these begin and end."""
    while start < stop:
        number, begin = divmod(start, length)
        end = min(begin + stop - start, length)
        yield number, begin, end
        start += end - begin


@numba.njit(nogil=True, cache=True)
def _round_robin(grouped, class_starts, keys, start, stop):
    """Return the cells at some positions of a cycle over classes; see `Order`."""
    classes = len(class_starts) - 1
    cells = np.empty(max(stop - start, 0), np.int64)
    for position in range(start, stop):
        turn, c = position // classes, position % classes
        n = class_starts[c + 1] - class_starts[c]
        lap, place = turn // n, turn % n
        key = mixed(np.uint64(keys[c]) + np.uint64(lap) * np.uint64(0x9E3779B97F4A7C15))
        cells[position - start] = grouped[class_starts[c] + permuted(place, n, key)]
    return cells

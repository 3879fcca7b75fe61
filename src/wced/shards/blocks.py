"""Blocks of a split's cells that lie together, and how often each of their cells is to come."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from wced.shards.classes import CellClasses, class_weights
from wced.shards.order import CellSource, Order

CHUNK_BLOCKS = 1024
"""Blocks whose labels are looked at together when classes are counted."""

MARGIN = 1e-6
"""How far the start of systematic sampling stays from 0 and 1, where rounding could lose a sample or add one."""


@dataclass(frozen=True)
class Parts:
    """Blocks from which a stream takes its cells; 24 bytes each."""

    block: np.ndarray
    """int64, (parts,): which block."""
    cells: np.ndarray
    """int64, (parts,): the stream's cells in it."""
    weight: np.ndarray | None = None
    """float64, (parts,): the sum of their weights; None where each cell weighs 1."""
    dataset: int | None = None
    """The dataset that the cells are of; None where a stream takes all cells of its blocks."""

    @property
    def total(self) -> float:
        """The sum of the weights of all cells."""
        return float((self.cells if self.weight is None else self.weight).sum())


class Blocks:
    """All blocks of a split.

    Attributes
    ----------
    source, split
        Which cells.
    cells
        int64, (blocks,): how many cells each block has.
    """

    def __init__(self, source: CellSource, split: str, order: Order) -> None:
        """Cut a split into blocks of `order.block_cells` cells."""
        self.source, self.split, self._order = source, split, order
        self._bounds, self.cells = source.blocks(split, order.block_cells)

    def places(self, blocks: np.ndarray) -> np.ndarray:
        """Return the places of the cells of some blocks, one block after the other; int64."""
        parts = [self.source.places(self.split, self._bounds[b], self._bounds[b + 1]) for b in blocks.tolist()]
        return np.concatenate([*parts, np.empty(0, np.int64)])

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield many blocks at a time, and the places of their cells."""
        for first in range(0, len(self.cells), CHUNK_BLOCKS):
            last = min(first + CHUNK_BLOCKS, len(self.cells))
            yield slice(first, last), self.source.places(self.split, self._bounds[first], self._bounds[last])

    @cached_property
    def classes(self) -> CellClasses:
        """Return the classes of the cells by the columns of the order."""
        return CellClasses(self.source, self._order.columns, (places for _, places in self.chunks()))

    def weights(self, places: np.ndarray) -> np.ndarray:
        """Return the expected samples in a pass of some cells; float64."""
        return self._weight_c[self.classes.of(places)]

    @cached_property
    def _weight_c(self) -> np.ndarray:
        return class_weights(self.classes.number_of, self._order.power, self._order.max_repeats)

    def parts(self) -> Parts:
        """Return all blocks as the parts of one stream."""
        weight = None
        if self._weighted:
            weight = np.zeros(len(self.cells))
            for blocks, places in self.chunks():
                begins = np.cumsum(self.cells[blocks]) - self.cells[blocks]
                weight[blocks] = np.add.reduceat(self.weights(places), begins)
        return Parts(np.arange(len(self.cells)), self.cells, weight)

    def parts_by_dataset(self) -> list[Parts]:
        """Return the parts of one stream for each dataset that has cells (there must be some), by their codes.

        A block has a part for each dataset in it, so this is small where the cells of a dataset lie together.
        """
        keys, cells, weight = [], [], []  # a key is a dataset and a block
        for blocks, places in self.chunks():
            block_n = np.repeat(np.arange(blocks.start, blocks.stop), self.cells[blocks])
            key_n = self.source.column("dataset", places).astype(np.int64) * len(self.cells) + block_n
            key_p, part_n, cells_p = np.unique(key_n, return_inverse=True, return_counts=True)
            keys.append(key_p)
            cells.append(cells_p)
            if self._weighted:
                weight.append(np.bincount(part_n, weights=self.weights(places)))
        order = np.argsort(np.concatenate(keys))
        dataset, block = np.divmod(np.concatenate(keys)[order], len(self.cells))
        codes, first = np.unique(dataset, return_index=True)
        columns = [block, np.concatenate(cells)[order]]
        columns += [np.concatenate(weight)[order]] if self._weighted else []
        by_dataset = zip(codes.tolist(), *(np.split(column, first[1:]) for column in columns), strict=True)
        return [Parts(*parts, dataset=code) for code, *parts in by_dataset]

    @property
    def _weighted(self) -> bool:
        return self._order.strategy == "weighted"


def sample_offset(rng: np.random.Generator) -> float:
    """Return a random start of systematic sampling."""
    return MARGIN + (1 - 2 * MARGIN) * rng.random()


@numba.njit(nogil=True, cache=True)
def times_sampled(weight, cells, begin, end, offset):
    """Return how often systematic sampling takes each cell, int64: one of weight 2.3 twice or three times.

    Cells stand on a line, each as long as its weight; a cell is taken once for each of the points 1 - offset,
    2 - offset, ... in its stretch, which includes its end.

    Parameters
    ----------
    weight
        float64, (n,): of the cells of some parts, one part after the other.
    cells
        int64, (parts,): cells of each part.
    begin, end
        float64, (parts,): where each part begins and ends on the line of all parts. Rounding must neither lose nor
        repeat a sample at these bounds, which neighbouring parts share, so the last cell ends just there.
    offset
        Start of the sampling, above 0 and below 1.
    """
    times, i = np.empty(len(weight), np.int64), 0
    for part in range(len(cells)):
        at, before = begin[part], np.floor(begin[part] + offset)
        for place in range(cells[part]):
            at = end[part] if place == cells[part] - 1 else min(at + weight[i], end[part])
            after = np.floor(at + offset)
            times[i] = np.int64(after - before)
            before, i = after, i + 1
    return times

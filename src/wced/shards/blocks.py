"""Blocks of consecutive cells of a split, the classes of these cells, and how often each cell is sampled."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from wced.config.pretraining import Order
from wced.errors import WcedError
from wced.shards.cells import CellSource

CHUNK_BLOCKS = 1024
"""Blocks whose labels are read together when classes are counted."""

MARGIN = 1e-6
"""Distance of the start of systematic sampling from 0 and 1, where rounding could lose a sample or add one."""


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
    """Dataset of the cells; None for all cells of the blocks."""

    @property
    def total(self) -> float:
        """The sum of the weights of all cells."""
        return float((self.cells if self.weight is None else self.weight).sum())


class Blocks:
    """All blocks of a split of a source; `cells` is int64, (blocks,): how many cells each has."""

    def __init__(self, source: CellSource, split: str, order: Order | None) -> None:
        """Cut a split into blocks of `order.block_cells` cells; without an order they are not shuffled."""
        self.source, self.split, self.order, self.shuffled = source, split, order or Order(), order is not None
        self._weighted = self.order.strategy == "weighted"
        self._bounds, self.cells = source.blocks(split, self.order.block_cells)

    def places(self, blocks: np.ndarray) -> np.ndarray:
        """Return the rows of the cells of some blocks, block after block; int64."""
        parts = [self.source.places(self.split, self._bounds[b], self._bounds[b + 1]) for b in blocks.tolist()]
        return np.concatenate([*parts, np.empty(0, np.int64)])

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield many blocks at a time, and the rows of their cells."""
        for first in range(0, len(self.cells), CHUNK_BLOCKS):
            last = min(first + CHUNK_BLOCKS, len(self.cells))
            yield slice(first, last), self.source.places(self.split, self._bounds[first], self._bounds[last])

    @cached_property
    def classes(self) -> "CellClasses":
        """The classes of the cells by the columns of the order."""
        return CellClasses(self.source, self.order.columns, (rows for _, rows in self.chunks()))

    @cached_property
    def _weight_c(self) -> np.ndarray:
        return class_weights(self.classes.number_of, self.order.power, self.order.max_repeats)

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """Return the expected number of samples of some cells in a pass; float64."""
        return self._weight_c[self.classes.of(rows)]

    def parts(self) -> Parts:
        """Return all blocks as the parts of one stream."""
        weight = None
        if self._weighted:
            weight = np.zeros(len(self.cells))
            for blocks, rows in self.chunks():
                begins = np.cumsum(self.cells[blocks]) - self.cells[blocks]
                weight[blocks] = np.add.reduceat(self.weights(rows), begins)
        return Parts(np.arange(len(self.cells)), self.cells, weight)

    def parts_by_dataset(self) -> list[Parts]:
        """Return the parts of one stream for each dataset that has cells (there must be some), by their codes.

        A block has a part for each dataset in it, so this is small where the cells of a dataset are contiguous.
        """
        keys, cells, weight = [], [], []  # a key is a dataset and a block
        for blocks, rows in self.chunks():
            block_n = np.repeat(np.arange(blocks.start, blocks.stop), self.cells[blocks])
            key_n = self.source.column("dataset", rows).astype(np.int64) * len(self.cells) + block_n
            key_p, part_n, cells_p = np.unique(key_n, return_inverse=True, return_counts=True)
            keys.append(key_p)
            cells.append(cells_p)
            if self._weighted:
                weight.append(np.bincount(part_n, weights=self.weights(rows)))
        order = np.argsort(np.concatenate(keys))
        dataset, block = np.divmod(np.concatenate(keys)[order], len(self.cells))
        codes, first = np.unique(dataset, return_index=True)
        columns = [block, np.concatenate(cells)[order]]
        columns += [np.concatenate(weight)[order]] if self._weighted else []
        by_dataset = zip(codes.tolist(), *(np.split(column, first[1:]) for column in columns), strict=True)
        return [Parts(*parts, dataset=code) for code, *parts in by_dataset]


class CellClasses:
    """The combinations of some columns' values that cells have; unknown is a value too.

    Only combinations that occur take memory. `number_of` is int64, (classes,): cells of each class.
    """

    def __init__(self, source: CellSource, columns: Sequence[str], chunks: Iterable[np.ndarray]) -> None:
        """Count the classes of the cells whose rows `chunks` has, by `dataset_id` or label columns.

        Raises WcedError if there is no such column, or they could have 2^63 combinations or more.
        """
        self._source, self._sizes = source, {}
        for name in columns:
            if name in source.labels.classes:
                self._sizes[name] = len(source.labels.classes[name]) + 1
            elif name == "dataset_id":
                self._sizes["dataset"] = len(source.dataset_ids) + 1
            else:
                has = ", ".join(source.label_columns)
                raise WcedError(f"order.columns: {name} is no label of the shards, which have {has}")
        if math.prod(self._sizes.values()) >= 2**63:
            raise WcedError(f"order.columns: {', '.join(columns)} have too many combinations; name fewer columns")
        cells_by_key: Counter[int] = Counter()
        for rows in chunks:
            keys, cells = np.unique(self._keys(rows), return_counts=True)
            cells_by_key.update(dict(zip(keys.tolist(), cells.tolist(), strict=True)))
        self._keys_c = np.array(sorted(cells_by_key), np.int64)
        self.number_of = np.array([cells_by_key[key] for key in self._keys_c.tolist()], np.int64)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the class of each of some counted cells; int64, (n,)."""
        return np.searchsorted(self._keys_c, self._keys(rows))

    def _keys(self, rows: np.ndarray) -> np.ndarray:
        """Return one number for each cell's combination: its codes are the digits, 0 for unknown."""
        keys = np.zeros(len(rows), np.int64)
        for name, size in self._sizes.items():
            keys *= size
            keys += self._source.column(name, rows) + 1
        return keys


def capped_shares(raw: np.ndarray, number_of: np.ndarray, total: float, most: float) -> np.ndarray:
    """Return min(most, c · raw); c makes the sum of these times `number_of` equal `total`, or as near as possible."""
    capped = np.zeros(len(raw), bool)
    while True:
        rest, shared = total - most * number_of[capped].sum(), (raw * number_of)[~capped].sum()
        shares = np.where(capped, most, raw * (rest / shared if shared > 0 else 0.0))
        over = ~capped & (shares > most)
        if not over.any():
            return shares
        capped |= over


def class_weights(number_of: np.ndarray, power: float, max_repeats: float) -> np.ndarray:
    """Return the expected samples of a cell of each class when there are as many samples as cells.

    Weights are w_c ∝ n_c^-power for the n_c cells of a class (`number_of`, int64), at most `max_repeats`; what classes
    at this limit leave is shared out among the others.
    """
    raw = np.where(number_of > 0, np.maximum(number_of, 1).astype(np.float64) ** -power, 0.0)
    return capped_shares(raw, number_of, number_of.sum(), max_repeats)


def sample_offset(rng: np.random.Generator) -> float:
    """Return a random start of systematic sampling."""
    return MARGIN + (1 - 2 * MARGIN) * rng.random()


@numba.njit(nogil=True, cache=True)
def times_sampled(weight, cells, begin, end, offset):
    """Return how often systematic sampling takes each cell, int64: one of weight 2.3 twice or three times.

    Cells are stretches of a line, each as long as its weight; a cell is taken once for each of the points 1 - offset,
    2 - offset, ... in its stretch, which includes its end.

    `weight` is float64, (n,): of the cells of some parts, part after part; `cells` int64, (parts,): cells of each;
    `begin` and `end` float64, (parts,): its bounds on the line of all parts. Rounding must neither lose nor repeat a
    sample at these bounds, which neighbouring parts share, so a part's last cell ends exactly there. `offset`, the
    start of the sampling, is above 0 and below 1.
    """
    times, i = np.empty(len(weight), np.int64), 0
    for part in range(len(cells)):
        at, before = begin[part], np.floor(begin[part] + offset)
        for k in range(cells[part]):
            at = end[part] if k == cells[part] - 1 else min(at + weight[i], end[part])
            after = np.floor(at + offset)
            times[i] = np.int64(after - before)
            before, i = after, i + 1
    return times

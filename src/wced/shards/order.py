"""In which order an epoch visits the cells of a split, without holding a number for every cell.

Cells are read from disk in *blocks* that lie together; the blocks of an epoch stand in random order, and each run of
them is a *buffer* within which cells are shuffled. With buffers of many blocks a batch is as mixed as after a full
shuffle (docs/throughput.md has the entropies), while the disk sees reads of a megabyte, not of a cell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numba
import numpy as np

from wced.shards.cells import CellViews, RaggedCells
from wced.shards.draws import mixed, permuted
from wced.shards.vocabulary import Labels, Vocabulary

CHUNK_BLOCKS = 1024
"""Blocks whose labels are looked at together when classes are counted."""


class CellSource(Protocol):
    """Where batches take cells from: shards on disk (`ShardSet`), or a Census (`CensusCells`)."""

    vocabulary: Vocabulary
    """Genes."""
    labels: Labels
    """What is known of a cell besides its counts: classes of the label columns, for example."""
    label_columns: tuple[str, ...]
    """Names of the columns of a batch's `labels`."""
    number_columns: tuple[str, ...]
    """Names of the columns of a batch's `numbers`."""
    dataset_ids: list[str]
    """Datasets in the order of their codes."""
    measured_dv: np.ndarray
    """bool, datasets × genes: which genes each measured."""
    measured_d: np.ndarray
    """int64, (datasets,): how many genes each measured."""

    def __len__(self) -> int: ...

    def count(self, split: str) -> int:
        """Return how many cells of a split have any vocabulary gene; only these are ever used."""

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the places of those cells in [start, stop), ascending; int64."""

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds (places) of blocks that have `block_cells` of them, and how many each has."""

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of `wced.shards.facts.fact_types` of cells by place; codes are -1 for unknown."""

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells; int64, (n + 1,)."""

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of cells by place, in the order asked for."""

    def views(self, cells: np.ndarray) -> CellViews:
        """Return the same without a copy, where that can be."""


@dataclass(frozen=True)
class Order:
    """Strategy and sizes of an order."""

    strategy: Literal["sequential", "shuffled", "weighted", "round_robin"] = "shuffled"
    """`sequential`: as on disk. `shuffled`: each cell once an epoch. `weighted`: as many draws as there are cells,
    those of rare classes more often than those of frequent ones. `round_robin`: one cell of each class in turn; a class
    that is through begins again in another order."""
    field: str = "dataset"
    """Column whose classes `weighted` and `round_robin` balance: `dataset` or a label; unknown is a class too."""
    exponent: float = 0.5
    """A class of n cells is drawn in proportion to n to the power of 1 - exponent: 0 leaves frequencies as they are, 1
    makes all classes equally frequent (`weighted`)."""
    max_repeats: float = 10.0
    """Largest expected number of draws of a cell in an epoch (`weighted`)."""
    block_cells: int = 64
    """Cells of a block."""
    buffer_blocks: int = 512
    """Smallest number of blocks in a buffer, where there are as many."""
    epoch_cells: int | None = None
    """Cells of an epoch, which begins where the last one ended: several passes over the cells, or a part of one. None
    for one pass."""


class EpochOrder:
    """Cells of a split in the order of each epoch, seeded by (seed, epoch)."""

    def __init__(self, source: CellSource, split: str, order: Order, seed: int) -> None:
        self.source, self.split, self.order, self.seed = source, split, order, seed
        self._bounds, self._cells = source.blocks(split, order.block_cells)
        self._pass = int(self._cells.sum())
        self._length = self._pass if order.epoch_cells is None or not self._pass else order.epoch_cells
        self._plan: tuple[int, np.ndarray, np.ndarray, np.ndarray, float] | None = None
        self._buffers: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        """Return the number of cells that an epoch visits."""
        return self._length

    @property
    def advances(self) -> bool:
        """Whether each epoch has an order of its own."""
        return self.order.strategy != "sequential"

    def cells(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return the places of the cells that an epoch visits as its start-th to stop-th (exclusive); int64."""
        at, end = epoch * self._length + start, epoch * self._length + stop  # of all passes, one after the other
        parts = []
        while at < end:
            number, begin = divmod(at, self._pass)
            parts.append(self._of_pass(number, begin, min(begin + end - at, self._pass)))
            at += self._pass - begin
        return parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.int64)])

    def passes(self, epoch: int, start: int) -> int:
        """Return how many whole passes over the cells there were before the start-th cell of an epoch."""
        return (epoch * self._length + start) // self._pass

    def _of_pass(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return the places of the start-th to stop-th cells of a pass over the cells."""
        if self.order.strategy == "round_robin":
            grouped, class_starts = self._classes
            keys = np.random.default_rng((self.seed, epoch)).integers(0, 2**63, len(class_starts) - 1, np.int64)
            return _round_robin(grouped, class_starts, keys, start, stop)
        starts = self._epoch(epoch)[2]
        parts = []
        for number in range(np.searchsorted(starts, start, side="right") - 1, len(starts) - 1):
            if starts[number] >= stop:
                break
            buffer = self._buffer(epoch, number)
            parts.append(buffer[max(start - starts[number], 0) : stop - starts[number]])
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _epoch(self, epoch: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, float]:
        """Return the epoch's order of blocks, and where its buffers begin, counted in cells and in blocks."""
        if self._plan is None or self._plan[0] != epoch:
            blocks = len(self._cells)
            rng = np.random.default_rng((self.seed, epoch))
            order = np.arange(blocks) if self.order.strategy == "sequential" else rng.permutation(blocks)
            # The start of systematic sampling stays clear of the ends, where rounding could lose a cell.
            offset = 0.001 + 0.998 * rng.random()
            cells = self._cells
            if self.order.strategy == "weighted":
                cells = np.diff(np.floor(self._weight_bounds + offset)).astype(np.int64)
            buffers = max(1, blocks // self.order.buffer_blocks)
            first = np.arange(buffers + 1) * blocks // buffers
            starts = np.concatenate([[0], np.cumsum(cells[order])])[first]
            self._plan = epoch, order, starts, first, offset
            self._buffers.clear()
        return self._plan

    def _buffer(self, epoch: int, number: int) -> np.ndarray:
        """Return the places of a buffer's cells in their order; the two used last are kept."""
        key = (epoch, number)
        if key not in self._buffers:
            _, order, _, first, offset = self._epoch(epoch)
            blocks = order[first[number] : first[number + 1]]
            places = np.concatenate([self._block(block, offset) for block in blocks] or [np.empty(0, np.int64)])
            if self.order.strategy != "sequential":
                places = np.random.default_rng((self.seed, epoch, number)).permutation(places)
            while len(self._buffers) > 1:
                del self._buffers[next(iter(self._buffers))]
            self._buffers[key] = places
        return self._buffers[key]

    def _block(self, block: int, offset: float) -> np.ndarray:
        """Return the places of a block's cells; by weight, each as often as it is drawn (systematic sampling)."""
        places = self.source.places(self.split, self._bounds[block], self._bounds[block + 1])
        if self.order.strategy != "weighted":
            return places
        weight = self._class_weights[self.source.column(self.order.field, places)]
        # Rounding must neither lose nor repeat a draw at the bounds, which the neighbours share.
        ends = np.minimum(self._weight_bounds[block] + np.cumsum(weight), self._weight_bounds[block + 1])
        ends[-1] = self._weight_bounds[block + 1]
        drawn = np.floor(np.concatenate([[self._weight_bounds[block]], ends]) + offset)
        return np.repeat(places, np.diff(drawn).astype(np.int64))

    @cached_property
    def _class_weights(self) -> np.ndarray:
        """Return the expected draws of a cell of each class in an epoch; the last class is 'unknown' (code -1)."""
        number_of = np.zeros(1, np.int64)
        for codes in self._codes():
            found = np.bincount(codes + 1)
            number_of = np.pad(number_of, (0, max(len(found) - len(number_of), 0)))
            number_of[: len(found)] += found
        return np.roll(class_weights(number_of, self.order.exponent, self.order.max_repeats), -1)

    @cached_property
    def _weight_bounds(self) -> np.ndarray:
        """Return the running sum of the weights of cells at the bounds of blocks; the last is the number of cells."""
        sums = [self._class_weights[codes].sum() for codes in self._codes(by_block=True)]
        bounds = np.concatenate([[0.0], np.cumsum(sums)])
        bounds[-1] = self._pass
        return bounds

    def _codes(self, by_block: bool = False) -> Iterator[np.ndarray]:
        """Yield the class codes of the split's cells, of many blocks together or of each."""
        step = 1 if by_block else CHUNK_BLOCKS
        for first in range(0, len(self._cells), step):
            last = min(first + step, len(self._cells))
            places = self.source.places(self.split, self._bounds[first], self._bounds[last])
            yield self.source.column(self.order.field, places)

    @cached_property
    def _classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of all cells grouped by class, and where each class begins; 8 bytes a cell."""
        codes = np.concatenate([*self._codes(), np.empty(0, np.int32)])
        order = np.argsort(codes, kind="stable")
        _, first = np.unique(codes[order], return_index=True)
        return self.source.places(self.split)[order], np.append(first, len(codes))


def class_weights(number_of: np.ndarray, exponent: float, max_repeats: float) -> np.ndarray:
    """Return the expected draws of a cell of each class when as many cells are drawn as there are.

    Parameters
    ----------
    number_of
        Cells of each class, int64.
    exponent
        w_c ∝ n_c^-exponent.
    max_repeats
        Largest weight; what classes at this limit leave is shared out among the others.
    """
    raw = np.where(number_of > 0, np.maximum(number_of, 1).astype(np.float64) ** -exponent, 0.0)
    total, capped = number_of.sum(), np.zeros(len(number_of), bool)
    while True:
        rest = total - max_repeats * number_of[capped].sum()
        weights = np.where(capped, max_repeats, raw * (rest / max((raw * number_of)[~capped].sum(), 1e-300)))
        weights[number_of == 0] = 0
        over = ~capped & (weights > max_repeats)
        if not over.any():
            return weights
        capped |= over


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

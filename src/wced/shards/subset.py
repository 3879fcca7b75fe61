"""A share of a source's training cells, so that one corpus serves trainings of several sizes."""

from itertools import pairwise
from typing import Any

import numpy as np

from wced.corpus.draws import draws
from wced.shards.cells import CellViews, RaggedCells
from wced.shards.order import CellSource

PURPOSE = 1 << 33
"""Purpose of the draws; see `wced.corpus.draws`."""

_CELLS = 1 << 20


class TrainingSubset:
    """A source of which training sees a share of the training cells; all other splits are as they were.

    A cell is in when its random number, which belongs to its soma_joinid and the seed, is below the share. So the cells
    of a smaller share are among those of a larger one, every dataset gives about its share, and the number of cells
    is that share but for chance.
    """

    def __init__(self, source: CellSource, share: float, seed: int) -> None:
        """Choose `share` (above 0, below 1) of the training cells by `seed`."""
        self.source, self.share, self.seed = source, share, seed
        self.vocabulary, self.labels = source.vocabulary, source.labels
        self.label_columns, self.number_columns = source.label_columns, source.number_columns
        self.dataset_ids, self.measured_dv, self.measured_d = source.dataset_ids, source.measured_dv, source.measured_d

    def __reduce__(self) -> tuple[Any, ...]:
        """Choose again in another process."""
        return TrainingSubset, (self.source, self.share, self.seed)

    def __len__(self) -> int:
        return len(self.source)

    def count(self, split: str) -> int:
        """Return how many cells of a split are used."""
        if split != "train":
            return self.source.count(split)
        bounds = [*range(0, len(self), _CELLS), len(self)]
        return sum(len(self.places(split, start, stop)) for start, stop in pairwise(bounds))

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the places of those cells in [start, stop), ascending; int64."""
        places = self.source.places(split, start, stop)
        if split != "train":
            return places
        number = draws(self.source.column("soma_joinid", places), self.seed, PURPOSE)
        return places[number < np.uint64(self.share * 2**64)]

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds (places) of blocks that have `block_cells` chosen cells, and how many each has."""
        if split != "train":
            return self.source.blocks(split, block_cells)
        ends, over = [], 0  # cells of the block that is open
        for start, stop in pairwise([*range(0, len(self), _CELLS), len(self)]):
            places = self.places(split, start, stop)
            ends.append(places[block_cells - 1 - over :: block_cells] + 1)
            over = (over + len(places)) % block_cells
        bounds = np.concatenate([[0], *ends, [len(self)] if over else []]).astype(np.int64)
        cells = np.full(len(bounds) - 1, block_cells, np.int64)
        if over:
            cells[-1] = over
        return bounds, cells

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of cells by place."""
        return self.source.column(name, cells)

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells."""
        return self.source.offsets(cells)

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of cells by place."""
        return self.source.take(cells)

    def views(self, cells: np.ndarray) -> CellViews:
        """Return the same without a copy, where that can be."""
        return self.source.views(cells)

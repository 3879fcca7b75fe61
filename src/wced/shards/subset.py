"""A share of a source's training cells, so that one corpus serves trainings of several sizes."""

from typing import Any

import numpy as np

from wced.corpus.draws import draws
from wced.shards.cells import CellSource, CellViews, RaggedCells

PURPOSE = 1 << 33
"""Purpose of these random numbers; see `wced.corpus.draws`."""


class TrainingSubset(CellSource):
    """A source with a share of the training cells of another; all other splits are as they were.

    A cell is in when its random number, a function of its soma_joinid and the seed, is below the share. So a smaller
    share is part of a larger one, and every dataset gives about its share.
    """

    def __init__(self, source: CellSource, share: float, seed: int) -> None:
        """Choose `share` (above 0, below 1) of the training cells by `seed`."""
        self.source, self.share, self.seed = source, share, seed
        self.vocabulary, self.labels = source.vocabulary, source.labels
        self.dataset_ids, self.measured_dv = source.dataset_ids, source.measured_dv

    def __reduce__(self) -> tuple[Any, ...]:
        """Choose again in another process."""
        return TrainingSubset, (self.source, self.share, self.seed)

    def __len__(self) -> int:
        return len(self.source)

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the rows of those cells in [start, stop), ascending; int64."""
        rows = self.source.places(split, start, stop)
        if split != "train":
            return rows
        number = draws(self.source.column("soma_joinid", rows), self.seed, PURPOSE)
        return rows[number < np.uint64(self.share * 2**64)]

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of cells by row."""
        return self.source.column(name, cells)

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells."""
        return self.source.offsets(cells)

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of cells by row."""
        return self.source.take(cells)

    def views(self, cells: np.ndarray) -> CellViews:
        """Return the same, without a copy where possible."""
        return self.source.views(cells)

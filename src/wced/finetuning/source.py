"""The cells of an AnnData as a source of batches."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from wced.embedding.inference import views_of
from wced.embedding.inputs import ModelInput
from wced.shards.cells import CellViews, RaggedCells
from wced.shards.vocabulary import Labels, Vocabulary

SPLITS = ("train", "validation", "test")
"""Splits in the order of their codes."""


class AnnDataSource:
    """Cells in memory, labelled and divided: a `wced.shards.cells.CellSource` of one dataset, whose places are rows."""

    number_columns: tuple[str, ...] = ()
    dataset_ids = ("input",)

    def __init__(
        self, cells: ModelInput, vocabulary: Vocabulary, labels: Labels, codes: Mapping[str, np.ndarray],
        split_n: np.ndarray,
    ) -> None:  # fmt: skip
        """Put together the counts of cells, their class in each column of `labels` and their split in `SPLITS`.

        `codes` (by column) and `split_n` are integers, (n,), -1 for an unknown class and a cell that is not used.
        """
        self.vocabulary, self.labels, self.label_columns = vocabulary, labels, labels.columns
        self.measured_dv = cells.measured_v[None]
        labels_nc = np.stack([codes[column] for column in labels.columns], axis=1).astype(np.int32)
        self._cells = replace(cells.cells, labels=labels_nc)
        self._views = self._cells.views()
        self._columns = dict(zip(labels.columns, labels_nc.T, strict=True))
        self._columns |= {"soma_joinid": self._cells.soma_joinid, "dataset": self._cells.dataset, "split": split_n}
        self._rows = {
            name: np.flatnonzero((split_n == code) & (np.diff(self._cells.offsets) > 0))
            for code, name in enumerate(SPLITS)
        }

    def __len__(self) -> int:
        return len(self._cells)

    def count(self, split: str) -> int:
        """Return how many cells of a split have any vocabulary gene; only these are ever used."""
        return len(self._rows[split])

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the rows of those cells in [start, stop), ascending; int64."""
        rows = self._rows[split]
        first, last = np.searchsorted(rows, [start, len(self) if stop is None else stop])
        return rows[first:last]

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds (rows) of blocks that have `block_cells` of them, and how many each has; int64."""
        rows = self._rows[split]
        starts = np.arange(0, len(rows), block_cells)
        return np.append(rows[starts], len(self)), np.minimum(block_cells, len(rows) - starts)

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return soma_joinid (the row), split, dataset or the codes of a label of some rows."""
        return self._columns[name][cells]

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these rows; int64, (n + 1,)."""
        return self.views(cells).offsets

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of some rows, in the order asked for."""
        views = self.views(cells)
        shift = self._cells.offsets[cells] - views.offsets[:-1]
        at = np.arange(views.offsets[-1]) + np.repeat(shift, np.diff(views.offsets))
        return RaggedCells(
            views.offsets, self._cells.gene[at], self._cells.count[at], views.soma_joinid, views.dataset, views.labels,
            perturbed=views.perturbed,
        )  # fmt: skip

    def views(self, cells: np.ndarray) -> CellViews:
        """Return the same without a copy."""
        return views_of(self._views, cells)

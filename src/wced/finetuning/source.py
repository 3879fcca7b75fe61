"""The cells of an AnnData as a source of batches."""

from collections.abc import Mapping

import numpy as np

from wced.embedding.inputs import ModelInput
from wced.shards.cells import CellViews, RaggedCells
from wced.shards.vocabulary import Labels, Vocabulary

SPLITS = ("train", "validation", "test")
"""Splits in the order of their codes."""


class AnnDataSource:
    """Cells in memory, labelled and divided; a `CellSource`. A cell's place is its row.

    Attributes
    ----------
    vocabulary, labels
        Genes, and the classes of the label columns.
    label_columns, number_columns
        Names of the columns of a batch's `labels`, and of its `numbers` (none).
    dataset_ids, measured_dv
        The AnnData is one dataset: its name, and bool (1, genes): which genes it measured.
    """

    number_columns: tuple[str, ...] = ()
    dataset_ids = ("input",)

    def __init__(
        self,
        cells: ModelInput,
        vocabulary: Vocabulary,
        labels: Labels,
        codes: Mapping[str, np.ndarray],
        split_n: np.ndarray,
    ) -> None:
        """Put together what is known of the cells.

        Parameters
        ----------
        cells
            Their counts, perturbed genes and measured genes.
        vocabulary, labels
            Genes of the model, and the classes of each column.
        codes
            By column of `labels`: int, (n,), the class of each cell, -1 for unknown.
        split_n
            int8, (n,): place of its split in `SPLITS`, -1 for a cell that is not used.
        """
        self.vocabulary, self.labels, self.label_columns = vocabulary, labels, labels.columns
        self.measured_dv = cells.measured_v[None]
        self._cells = cells.cells
        self._labels_nc = np.stack([codes[column] for column in labels.columns], axis=1).astype(np.int32)
        self._columns = dict(zip(labels.columns, self._labels_nc.T, strict=True))
        self._columns |= {"soma_joinid": np.arange(len(split_n)), "dataset": np.zeros(len(split_n), np.int32)}
        self._columns["split"] = split_n
        self._places = {
            name: np.flatnonzero((split_n == code) & (np.diff(self._cells.offsets) > 0))
            for code, name in enumerate(SPLITS)
        }

    def __len__(self) -> int:
        return len(self._cells)

    def count(self, split: str) -> int:
        """Return how many cells of a split have any vocabulary gene; only these are ever used."""
        return len(self._places[split])

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the places of those cells in [start, stop), ascending; int64."""
        places = self._places[split]
        first, last = np.searchsorted(places, [start, len(self) if stop is None else stop])
        return places[first:last]

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds (places) of blocks that have `block_cells` of them, and how many each has; int64."""
        places = self._places[split]
        starts = np.arange(0, len(places), block_cells)
        return np.append(places[starts], len(self)), np.minimum(block_cells, len(places) - starts)

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return soma_joinid (the row), split, dataset or a label's codes of cells by place."""
        return self._columns[name][cells]

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells; int64, (n + 1,)."""
        return np.concatenate([[0], np.cumsum(np.diff(self._cells.offsets)[cells])])

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of cells by place, in the order asked for."""
        offsets = self.offsets(cells)
        shift = self._cells.offsets[cells] - offsets[:-1]
        at = np.arange(offsets[-1]) + np.repeat(shift, np.diff(offsets))
        return RaggedCells(offsets, self._cells.gene[at], self._cells.count[at], **self._facts(cells))

    def views(self, cells: np.ndarray) -> CellViews:
        """Return where the cells lie, in the order asked for; what `encode` takes."""
        starts, gene, count = self._cells.offsets[cells], self._cells.gene, self._cells.count
        return CellViews(
            offsets=self.offsets(cells),
            gene_at=gene.ctypes.data + starts * gene.itemsize,
            count_at=count.ctypes.data + starts * count.itemsize,
            like=gene[:0],
            **self._facts(cells),
            owner=self,
        )

    def _facts(self, cells: np.ndarray) -> dict[str, np.ndarray | None]:
        """Return what is known of cells besides their counts."""
        return {
            "soma_joinid": self.column("soma_joinid", cells),
            "dataset": self.column("dataset", cells),
            "labels": self._labels_nc[cells],
            "numbers": None,
            "perturbed": None if self._cells.perturbed is None else self._cells.perturbed[cells],
        }

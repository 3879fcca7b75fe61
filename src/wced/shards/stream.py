"""The cells of a run straight from a Census, without shards: for looking around before anything is written."""

import itertools
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from wced.config import corpus as config
from wced.corpus.cells import read_cells
from wced.corpus.census import open_census
from wced.errors import WcedError
from wced.shards.cells import CellViews, RaggedCells
from wced.shards.counts import CountReader, Counts, copy_cells
from wced.shards.encode import measured_counts
from wced.shards.facts import SPLITS, facts_of
from wced.shards.vocabulary import Labels, Vocabulary, read_measured
from wced.shards.write import batch_bounds

BLOCK_CELLS = 256
"""Cells of a block where nobody has asked for blocks of another size."""


class CensusCells:
    """Selected cells of a Census, used like `ShardSet` and giving the same batches.

    X is read in whole blocks (as cut by `blocks`), of which those used last are kept. An order that shuffles within
    buffers of blocks therefore reads each block once an epoch, provided that a buffer fits into `cached_cells`.

    Attributes
    ----------
    vocabulary, labels
        Genes, and what is known of a cell besides its counts.
    label_columns, number_columns
        Names of the columns of a batch's `labels` and `numbers`.
    dataset_ids, measured_dv, measured_d
        Datasets in the order of their codes; bool, datasets × genes: which genes each measured; how many, int64.
    """

    def __init__(
        self,
        section: config.Census,
        cells: str | Path,
        vocabulary: str | Path,
        collection: str | Path | None = None,
        *,
        cached_cells: int = 65_536,
    ) -> None:
        """Open a collection and read which of its cells are used; about 50 bytes a cell stay in memory.

        Parameters
        ----------
        section
            The collection, and how often a read is tried.
        cells
            cells.parquet, as `wced cells` writes it.
        vocabulary
            vocabulary.tsv, with labels.json and measured.arrow beside it, as `wced vocabulary` writes them.
        collection
            Folder of a local collection that was built from `section.datasets`.
        cached_cells
            Cells whose counts are kept: about 10 kB each at 1,700 expressed genes.

        Raises
        ------
        WcedError
            If a file or the collection cannot be opened.
        """
        self._arguments = (section, cells, vocabulary, collection)
        self._cached_cells = cached_cells
        self.vocabulary = Vocabulary.read(vocabulary)
        self.labels = Labels.read(Path(vocabulary).parent / "labels.json")
        self.label_columns, self.number_columns = self.labels.columns, self.labels.number_columns
        self.dataset_ids, self.measured_dv = read_measured(Path(vocabulary).parent / "measured.arrow")
        self.measured_d = measured_counts(self.measured_dv)
        frame = read_cells(cells)
        self._nnz = frame["nnz"].to_numpy(np.int64)
        self._columns = facts_of(frame, self.labels, self.dataset_ids)
        self._census = open_census(section, collection)
        experiment = self._census["census_data"][section.organism]
        self._reader = CountReader(experiment, self.vocabulary, section)
        # Blocks of each split (bounds are places), and the counts of those used last: (split, block) -> cells.
        self._bounds = {code: self._cut(code, BLOCK_CELLS) for code in range(len(SPLITS))}
        self._kept: OrderedDict[tuple[int, int], tuple[np.ndarray, Counts]] = OrderedDict()
        self._lock = threading.Lock()  # the workers of a loader share what is kept

    def __reduce__(self) -> tuple[Any, ...]:
        """Open everything again in another process."""
        return _reopened, (*self._arguments, self._cached_cells)

    def __len__(self) -> int:
        return len(self._nnz)

    def count(self, split: str) -> int:
        """Return how many cells of a split have any gene."""
        return len(self.places(split))

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the places of those cells in [start, stop), ascending; int64."""
        return self._places(SPLITS.index(split), start, len(self) if stop is None else stop)

    def _places(self, code: int, start: int, stop: int) -> np.ndarray:
        at = slice(start, stop)
        return start + np.flatnonzero((self._columns["split"][at] == code) & (self._nnz[at] > 0))

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Cut a split into blocks of cells that lie one after the other; they are what is read from now on.

        Returns
        -------
        bounds
            int64, (blocks + 1,): block b lies in the places bounds[b] to bounds[b + 1].
        cells
            int64, (blocks,): its cells of the split, `block_cells` of them in all blocks but the last.
        """
        code = SPLITS.index(split)
        self._bounds[code] = self._cut(code, block_cells)
        for key in [key for key in self._kept if key[0] == code]:
            del self._kept[key]
        cells = self.count(split)
        sizes = np.full(len(self._bounds[code]) - 1, block_cells, np.int64)
        if cells:
            sizes[-1] = cells - block_cells * (len(sizes) - 1)
        return self._bounds[code], sizes

    def _cut(self, code: int, block_cells: int) -> np.ndarray:
        """Return the bounds of a split's blocks: after each `block_cells`-th of its cells, and the end for the rest."""
        places = self._places(code, 0, len(self))
        rest = [len(self)] if len(places) % block_cells else []
        return np.concatenate([[0], places[block_cells - 1 :: block_cells] + 1, rest]).astype(np.int64)

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of `wced.shards.facts.fact_types` for the cells at some places; codes are -1 for unknown."""
        return self._columns[name][cells]

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells; int64, (n + 1,). Reads X."""
        return self.take(cells).offsets

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of some cells, in the order asked for, reading the blocks that are not kept.

        Parameters
        ----------
        cells
            int64, (n,): places of cells.

        Raises
        ------
        WcedError
            If X cannot be read, or a cell expresses no gene of the vocabulary.
        """
        with self._lock:
            return self._take(cells)

    def views(self, cells: np.ndarray) -> CellViews:
        """Return what `take` does, as `encode` takes it."""
        return self.take(cells).views()

    def _take(self, cells: np.ndarray) -> RaggedCells:
        split, block = self._columns["split"][cells], np.empty(len(cells), np.int64)
        for code, bounds in self._bounds.items():
            at = split == code
            block[at] = np.searchsorted(bounds, cells[at], side="right") - 1
        keys, number_of = np.unique(np.stack([split, block]), axis=1, return_inverse=True)
        needed = [tuple(key) for key in keys.T.tolist()]
        self._read([key for key in needed if key not in self._kept])
        for key in needed:
            self._kept.move_to_end(key)
        slots = [np.flatnonzero(number_of == number) for number in range(len(needed))]
        rows = [np.searchsorted(self._kept[key][0], cells[at]) for key, at in zip(needed, slots, strict=True)]
        sizes = np.empty(len(cells), np.int64)
        for key, at, row in zip(needed, slots, rows, strict=True):
            sizes[at] = np.diff(self._kept[key][1].offsets)[row]
        if len(cells) and sizes.min() == 0:
            joinid = self._columns["soma_joinid"][cells[sizes.argmin()]]
            raise WcedError(f"cell {joinid} expresses no gene of the vocabulary; cells.filter.min_genes keeps such out")
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        gene, count = np.empty(offsets[-1], self._reader.dtype), np.empty(offsets[-1], np.uint32)
        for key, at, row in zip(needed, slots, rows, strict=True):
            counts = self._kept[key][1]
            copy_cells(row, counts.offsets, counts.gene, counts.count, at, offsets, gene, count)
        self._forget()
        return RaggedCells(offsets, gene, count, **self._facts(cells))

    def _facts(self, cells: np.ndarray) -> dict[str, np.ndarray | None]:
        """Return what is known of cells besides their counts."""
        labels = np.empty((len(cells), len(self.label_columns)), np.int32)
        numbers = np.empty((len(cells), len(self.number_columns)), np.float32)
        for values, names in ((labels, self.label_columns), (numbers, self.number_columns)):
            for k, name in enumerate(names):
                values[:, k] = self.column(name, cells)
        perturbations = self.labels.perturbations
        return {
            "soma_joinid": self.column("soma_joinid", cells),
            "dataset": self.column("dataset", cells),
            "labels": labels,
            "numbers": numbers if self.number_columns else None,
            "perturbed": None if perturbations is None else perturbations.gene_pm[self.column("perturbed", cells)],
        }

    def _read(self, keys: list[tuple[int, int]]) -> None:
        """Read blocks from X, as many at once as memory is meant to hold."""
        places = [self._places(code, *self._bounds[code][block : block + 2]) for code, block in keys]
        # X is read in the order of cells, whatever split they are of.
        order = sorted(range(len(keys)), key=lambda i: places[i][0])
        for start, stop in itertools.pairwise(batch_bounds([self._nnz[places[i]].sum() for i in order], len(order))):
            together = np.sort(np.concatenate([places[i] for i in order[start:stop]]))
            datasets = np.array(self.dataset_ids)[self._columns["dataset"][together]]
            counts = self._reader.read(
                self._columns["soma_joinid"][together], self._nnz[together], datasets, "streaming"
            )
            for i in order[start:stop]:
                self._kept[keys[i]] = places[i], counts.rows(np.searchsorted(together, places[i]))

    def _forget(self) -> None:
        """Drop the blocks that were used longest ago, down to `cached_cells`."""
        held = sum(len(places) for places, _ in self._kept.values())
        while held > self._cached_cells and len(self._kept) > 1:
            held -= len(self._kept.popitem(last=False)[1][0])


def _reopened(*arguments: Any) -> CensusCells:
    return CensusCells(*arguments[:-1], cached_cells=arguments[-1])

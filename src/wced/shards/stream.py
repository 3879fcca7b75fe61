"""The cells of a run straight from a Census, without shards: for looking around before anything is written."""

import itertools
import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wced.config import corpus as config
from wced.corpus.cells import read_cells
from wced.corpus.census import open_census
from wced.errors import WcedError
from wced.shards.cells import CellSource, RaggedCells
from wced.shards.counts import CountReader, Counts, batch_bounds, joined
from wced.shards.vocabulary import SPLITS, Labels, Vocabulary, facts_of, read_measured

BLOCK_CELLS = 256
"""Cells of a block until `blocks` is called."""


class CensusCells(CellSource):
    """Selected cells of a Census; they give the same batches as `ShardSet`.

    X is read in whole blocks (as cut by `blocks`), and those used last are kept. An order that shuffles within buffers
    of blocks therefore reads each block once an epoch, provided that a buffer fits into `cached_cells`.
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
        section, collection
            The collection, and how often a read is tried; folder of a local one that was built from `section.datasets`.
        cells, vocabulary
            cells.parquet, and vocabulary.tsv with labels.json and measured.arrow beside it, as `wced` writes them.
        cached_cells
            Cells whose counts are kept: about 10 kB each at 1,700 expressed genes.
        """
        self._arguments = (section, cells, vocabulary, collection)
        self._cached_cells = cached_cells
        self.vocabulary = Vocabulary.read(vocabulary)
        self.labels = Labels.read(Path(vocabulary).parent / "labels.json")
        self.dataset_ids, self.measured_dv = read_measured(Path(vocabulary).parent / "measured.arrow")
        frame = read_cells(cells)
        self._nnz = frame["nnz"].to_numpy(np.int64)
        self._columns = facts_of(frame, self.labels, self.dataset_ids)
        self._census = open_census(section, collection)
        experiment = self._census["census_data"][section.organism]
        self._reader = CountReader(experiment, self.vocabulary, section)
        # Bounds of the blocks of each split; and rows and counts of those used last, by split code and block.
        self._bounds = {
            code: super(CensusCells, self).blocks(split, BLOCK_CELLS)[0] for code, split in enumerate(SPLITS)
        }
        self._kept: OrderedDict[tuple[int, int], tuple[np.ndarray, Counts]] = OrderedDict()
        self._lock = threading.Lock()  # the workers of a loader share what is kept

    def __reduce__(self) -> tuple[Any, ...]:
        """Open everything again in another process."""
        return partial(CensusCells, cached_cells=self._cached_cells), self._arguments

    def __len__(self) -> int:
        return len(self._nnz)

    def _places(self, split: str, start: int, stop: int) -> np.ndarray:
        part = slice(start, stop)
        return start + np.flatnonzero((self._columns["split"][part] == SPLITS.index(split)) & (self._nnz[part] > 0))

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Cut a split into blocks, which are what is read from now on."""
        code, (bounds, cells) = SPLITS.index(split), super().blocks(split, block_cells)
        self._bounds[code] = bounds
        for key in [key for key in self._kept if key[0] == code]:
            del self._kept[key]
        return bounds, cells

    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of `wced.shards.vocabulary.fact_types` of cells by row; codes are -1 for unknown."""
        return self._columns[name][cells]

    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of cells by row, in the order of `cells`; reads the blocks that are not kept.

        Raises WcedError if X cannot be read, or a cell expresses no gene of the vocabulary.
        """
        with self._lock:
            return self._take(cells)

    def _take(self, cells: np.ndarray) -> RaggedCells:
        split, block = self._columns["split"][cells], np.empty(len(cells), np.int64)
        for code, bounds in self._bounds.items():
            own = split == code
            block[own] = np.searchsorted(bounds, cells[own], side="right") - 1
        keys, key_n = np.unique(np.stack([split, block]), axis=1, return_inverse=True)
        needed = [tuple(key) for key in keys.T.tolist()]
        self._read([key for key in needed if key not in self._kept])
        parts, slots = [self._reader.no_cells], [cells[:0]]
        for number, key in enumerate(needed):
            self._kept.move_to_end(key)
            rows, counts = self._kept[key]
            slots.append(np.flatnonzero(key_n == number))
            parts.append(counts.rows(np.searchsorted(rows, cells[slots[-1]])))
        counts = joined(parts).rows(np.argsort(np.concatenate(slots)))
        empty = np.flatnonzero(np.diff(counts.offsets) == 0)
        if len(empty):
            joinid = self._columns["soma_joinid"][cells[empty[0]]]
            raise WcedError(f"cell {joinid} expresses no gene of the vocabulary; cells.filter.min_genes keeps such out")
        self._forget()
        return RaggedCells(counts.offsets, counts.gene, counts.count, **self._facts(cells))

    def _read(self, keys: list[tuple[int, int]]) -> None:
        """Read blocks from X, as many at once as memory is meant to hold."""
        rows = [self._places(SPLITS[code], *self._bounds[code][block : block + 2]) for code, block in keys]
        # X is read in the order of cells, whatever split they are of.
        order = sorted(range(len(keys)), key=lambda i: rows[i][0])
        for start, stop in itertools.pairwise(batch_bounds([self._nnz[rows[i]].sum() for i in order], len(order))):
            together = np.sort(np.concatenate([rows[i] for i in order[start:stop]]))
            datasets = np.array(self.dataset_ids)[self._columns["dataset"][together]]
            counts = self._reader.read(
                self._columns["soma_joinid"][together], self._nnz[together], datasets, "streaming"
            )
            for i in order[start:stop]:
                self._kept[keys[i]] = rows[i], counts.rows(np.searchsorted(together, rows[i]))

    def _forget(self) -> None:
        """Drop the blocks that were used longest ago, down to `cached_cells`."""
        held = sum(len(rows) for rows, _ in self._kept.values())
        while held > self._cached_cells and len(self._kept) > 1:
            held -= len(self._kept.popitem(last=False)[1][0])

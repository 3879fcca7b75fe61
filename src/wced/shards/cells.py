"""Cells in memory: raw counts as flat arrays, where they are, and what provides them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from wced.corpus.draws import draws
from wced.shards.vocabulary import Labels, Vocabulary

SHARE = 1 << 33
"""Purpose of the random numbers of `CellSource.share`; see `wced.corpus.draws`."""

CHUNK_CELLS = 1 << 20
"""Cells of a source that are looked at together when blocks are cut."""


@dataclass(frozen=True)
class RaggedCells:
    """Raw counts of n cells; cell i expresses genes `gene[offsets[i]:offsets[i + 1]]`, ids ascending."""

    offsets: np.ndarray
    """int64, (n + 1,): where each cell's genes begin in the flat arrays."""
    gene: np.ndarray
    """uint16 or uint32, (nonzeros,): vocabulary ids."""
    count: np.ndarray
    """uint32, (nonzeros,): raw counts, at least 1."""
    soma_joinid: np.ndarray
    """int64, (n,): identity of the cell, which seeds everything random about it."""
    dataset: np.ndarray
    """int32, (n,): row of the measured-gene mask."""
    labels: np.ndarray
    """int32, (n, label columns): class codes, -1 for unknown."""
    numbers: np.ndarray | None = None
    """float32, (n, number columns): NaN for unknown; None without such columns."""
    perturbed: np.ndarray | None = None
    """int32, (n, m): vocabulary ids of the perturbed genes, padded with -1; None where they are not recorded."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def views(self) -> "CellViews":
        """Return where the cells lie."""
        gene_at, count_at = (a.ctypes.data + self.offsets[:-1] * a.itemsize for a in (self.gene, self.count))
        names = ("soma_joinid", "dataset", "labels", "numbers", "perturbed")
        facts = {name: getattr(self, name) for name in names}
        return CellViews(self.offsets, gene_at, count_at, self.gene[:0], **facts, owner=self)


@dataclass(frozen=True)
class CellViews:
    """Raw counts of n cells left where they are, e.g. in mapped files; other fields as in `RaggedCells`."""

    offsets: np.ndarray
    """int64, (n + 1,): where each cell's genes would begin in flat arrays."""
    gene_at: np.ndarray
    """int64, (n,): address of each cell's vocabulary ids, ascending."""
    count_at: np.ndarray
    """int64, (n,): address of its counts, uint32."""
    like: np.ndarray
    """Empty, of the type of the ids."""
    soma_joinid: np.ndarray
    dataset: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray | None
    perturbed: np.ndarray | None
    owner: object
    """Owner of the memory, which lives as long as this."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def views(self) -> "CellViews":
        """Return itself."""
        return self


class CellSource(ABC):
    """Where batches take cells from, by their row: shards on disk (`ShardSet`), or a Census (`CensusCells`)."""

    vocabulary: Vocabulary
    """Genes."""
    labels: Labels
    """What is known of a cell besides its counts."""
    dataset_ids: list[str]
    """Datasets in the order of their codes."""
    measured_dv: np.ndarray
    """bool, datasets × genes: which genes each measured."""
    share: float = 1.0
    """Share of the training cells that is used, so that one corpus serves trainings of several sizes."""
    share_seed: int = 0
    """Seed of their choice."""

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Names of the columns of a batch's `labels`."""
        return self.labels.columns

    @property
    def number_columns(self) -> tuple[str, ...]:
        """Names of the columns of a batch's `numbers`."""
        return self.labels.number_columns

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _places(self, split: str, start: int, stop: int) -> np.ndarray:
        """Return the rows in [start, stop) of the cells of a split that have any vocabulary gene, ascending; int64."""

    def places(self, split: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the rows in [start, stop) of the cells of a split that are used, ascending; int64.

        These have a vocabulary gene and, if they are for training, a random number below `share`: a function of their
        soma_joinid and the seed. So a smaller share is part of a larger one, and every dataset gives about its share.
        """
        rows = self._places(split, start, len(self) if stop is None else stop)
        if split != "train" or self.share == 1:
            return rows
        number = draws(self.column("soma_joinid", rows), self.share_seed, SHARE)
        return rows[number < np.uint64(self.share * 2**64)]

    def count(self, split: str) -> int:
        """Return how many cells of a split are used."""
        return int(CellSource.blocks(self, split, CHUNK_CELLS)[1].sum())

    def blocks(self, split: str, block_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Cut a split into blocks of consecutive cells.

        Returns
        -------
        bounds
            int64, (blocks + 1,): block b is the cells of the split in the rows bounds[b] to bounds[b + 1].
        cells
            int64, (blocks,): its number of cells, `block_cells` for all blocks but the last.
        """
        ends, over = [np.zeros(1, np.int64)], 0  # `over`: cells of the last block, if it is not full
        for start, stop in pairwise([*range(0, len(self), CHUNK_CELLS), len(self)]):
            rows = self.places(split, start, stop)
            ends.append(rows[block_cells - 1 - over :: block_cells] + 1)
            over = (over + len(rows)) % block_cells
        if over:
            ends.append(np.array([len(self)]))
        bounds = np.concatenate(ends)
        cells = np.full(len(bounds) - 1, block_cells, np.int64)
        cells[-1:] = over or block_cells
        return bounds, cells

    @abstractmethod
    def column(self, name: str, cells: np.ndarray) -> np.ndarray:
        """Return a column of `wced.shards.vocabulary.fact_types` of cells by row; codes are -1 for unknown."""

    @abstractmethod
    def take(self, cells: np.ndarray) -> RaggedCells:
        """Return the raw counts of cells by row, in the order of `cells`."""

    def views(self, cells: np.ndarray) -> CellViews:
        """Return the same, without a copy where possible."""
        return self.take(cells).views()

    def offsets(self, cells: np.ndarray) -> np.ndarray:
        """Return where each cell's genes begin and end in flat arrays of these cells; int64, (n + 1,)."""
        return self.take(cells).offsets

    def _facts(self, cells: np.ndarray) -> dict[str, np.ndarray | None]:
        """Return what is known of cells besides their counts, as fields of `RaggedCells`."""
        perturbations = self.labels.perturbations
        return {
            "soma_joinid": self.column("soma_joinid", cells),
            "dataset": self.column("dataset", cells),
            "labels": self._table(self.label_columns, cells, np.int32),
            "numbers": self._table(self.number_columns, cells, np.float32) if self.number_columns else None,
            "perturbed": None if perturbations is None else perturbations.gene_pm[self.column("perturbed", cells)],
        }

    def _table(self, names: Sequence[str], cells: np.ndarray, dtype: type) -> np.ndarray:
        """Return several columns of cells; cells × columns."""
        table = np.empty((len(cells), len(names)), dtype)
        for k, name in enumerate(names):
            table[:, k] = self.column(name, cells)
        return table


def id_dtype(vocabulary_size: int) -> type:
    """Return the narrowest type of the shard contract that holds a vocabulary's ids."""
    return np.uint16 if vocabulary_size < 2**16 else np.uint32


def from_csr(counts_ng: sparse.csr_matrix, vocabulary_ids: np.ndarray, vocabulary_size: int) -> RaggedCells:
    """Return the cells of a matrix of raw counts, reduced to the genes of a vocabulary.

    `vocabulary_ids` is int32, (columns,): the vocabulary id of each column, -1 for genes outside; columns of one gene
    are added up. `soma_joinid` is the row number, dataset 0, and there are no labels.
    """
    counts_ng = sparse.csr_matrix(counts_ng)
    gene, n = vocabulary_ids[counts_ng.indices], counts_ng.shape[0]
    kept = gene >= 0
    indptr = np.concatenate([[0], np.cumsum(kept)])[counts_ng.indptr]
    inside = sparse.csr_matrix((counts_ng.data[kept].astype(np.float64), gene[kept], indptr), (n, vocabulary_size))
    inside.sum_duplicates()
    inside.eliminate_zeros()
    return RaggedCells(
        offsets=inside.indptr.astype(np.int64),
        gene=inside.indices.astype(id_dtype(vocabulary_size)),
        count=inside.data.astype(np.uint32),
        soma_joinid=np.arange(n, dtype=np.int64),
        dataset=np.zeros(n, np.int32),
        labels=np.full((n, 0), -1, np.int32),
    )

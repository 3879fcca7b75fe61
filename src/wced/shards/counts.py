"""Raw counts of some cells, from X of a Census straight into the flat lists of a shard."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np
import pandas as pd

from wced.config import corpus as config
from wced.corpus.remote import retried
from wced.errors import WcedError
from wced.progress import progress
from wced.shards.cells import id_dtype
from wced.shards.vocabulary import Vocabulary

if TYPE_CHECKING:
    import tiledbsoma

LARGEST_COUNT = 2**32 - 1
"""Largest count that a shard holds."""

BATCH_NONZEROS = 2**25
"""Most non-zeros (over all genes) of cells that are read from X and held together, e.g. as a record batch. At six bytes
each, and with TileDB's own buffers, writing a shard needs about 1.5 GB, however large it is."""

DENSE = 0.5
"""If at least this share of a range of cells is needed, the whole range is read and the others are skipped.

TileDB unpacks whole tiles in any case; finding single cells in them costs it a third more than returning them all."""


@dataclass(frozen=True)
class Counts:
    """Raw counts of n cells: cell i expresses genes `gene[offsets[i]:offsets[i + 1]]`, ids ascending."""

    offsets: np.ndarray
    """int64, (n + 1,): where each cell's genes begin in the flat arrays."""
    gene: np.ndarray
    """uint16 or uint32, (nonzeros,): vocabulary ids."""
    count: np.ndarray
    """uint32, (nonzeros,): raw counts, at least 1."""
    total: np.ndarray
    """int64, (n,): counts of all genes, also those outside the vocabulary."""
    inside: np.ndarray
    """int64, (n,): counts of the vocabulary's genes."""

    def rows(self, rows: np.ndarray) -> "Counts":
        """Return a copy of some cells; `rows` is int64."""
        sizes = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        at = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], sizes)
        return Counts(offsets, self.gene[at], self.count[at], self.total[rows], self.inside[rows])


def joined(parts: Sequence[Counts]) -> Counts:
    """Return the cells of all parts, one part after the other."""
    offsets = np.concatenate([[0], *(np.diff(part.offsets) for part in parts)]).cumsum()
    names = ("gene", "count", "total", "inside")
    return Counts(offsets, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def batch_bounds(nonzeros: np.ndarray, most_cells: int, most_nonzeros: int = BATCH_NONZEROS) -> np.ndarray:
    """Return the bounds of the fewest batches that have no more cells and non-zeros than allowed.

    A cell that alone has more non-zeros is a batch of its own. Shape (batches + 1,), int64, ascending.
    """
    cumulative = np.concatenate([[0], np.cumsum(nonzeros, dtype=np.int64)])
    bounds = [0]
    while bounds[-1] < len(nonzeros):
        start = bounds[-1]
        fitting = int(np.searchsorted(cumulative, cumulative[start] + most_nonzeros, side="right")) - 1
        bounds.append(max(start + 1, min(start + most_cells, fitting)))
    return np.array(bounds, np.int64)


class CountReader:
    """Reads raw counts of an organism, reduced to a vocabulary, in whatever order TileDB is fastest.

    TileDB returns the entries of X tile by tile. Asking it for rows in order makes it sort, which costs ten times as
    much as reading; instead every entry is written where its cell's genes belong, which the cells' `nnz` says.
    """

    def __init__(
        self, experiment: "tiledbsoma.Experiment", vocabulary: Vocabulary, section: config.Census | None = None
    ) -> None:
        """Find the vocabulary's genes in an organism of a Census; `section` says how often a read is tried."""
        self.section = config.Census() if section is None else section
        rna = experiment.ms["RNA"]
        var = retried(
            self.section,
            f"var of {experiment.uri}",
            lambda: rna.var.read(column_names=["soma_joinid", "feature_id"]).concat().to_pandas(),
        )
        self.dtype, none = id_dtype(len(vocabulary)), np.zeros(0, np.int64)
        self.no_cells = Counts(np.zeros(1, np.int64), none.astype(self.dtype), none.astype(np.uint32), none, none)
        # Indexed by the soma_joinid of var; -1 for genes outside the vocabulary.
        self.vocabulary_id = np.full(int(var["soma_joinid"].max()) + 1, -1, np.int32)
        self.vocabulary_id[var["soma_joinid"]] = vocabulary.ids_of(var["feature_id"])
        self._x = retried(self.section, f"X of {experiment.uri}", lambda: rna.X["raw"])

    def batches(self, cells: pd.DataFrame, most_cells: int, what: str) -> Iterator[tuple[pd.DataFrame, Counts]]:
        """Yield rows of cells.parquet with their counts, as many at a time as `batch_bounds` says; see `read`."""
        nonzeros = cells["nnz"].to_numpy(np.int64)
        bounds = itertools.pairwise(batch_bounds(nonzeros, most_cells).tolist())
        for start, stop in progress(
            bounds, what, total=len(cells), unit="cells", size=lambda batch: batch[1] - batch[0]
        ):
            rows = cells.iloc[start:stop]
            yield rows, self.read(rows["soma_joinid"].to_numpy(), nonzeros[start:stop], rows["dataset_id"], what)

    def read(self, soma_joinids: np.ndarray, nnz: np.ndarray, dataset_ids: Sequence[str], what: str) -> Counts:
        """Return the counts of some cells.

        `soma_joinids` is int64, (n,), strictly ascending; `nnz`, int64, has their non-zeros over all genes by obs.
        `dataset_ids` (of each cell) and `what` is read are for messages. Raises WcedError if reading fails after the
        last attempt, if a count is negative, no whole number or above `LARGEST_COUNT`, or if X holds another number of
        counts of a cell than obs says.
        """
        soma_joinids = np.ascontiguousarray(soma_joinids, np.int64)
        if len(soma_joinids) == 0:
            return self.no_cells
        datasets = np.asarray(dataset_ids).astype(str)
        names = ", ".join(sorted(set(datasets)))
        where = f"{what}: datasets {names}, soma_joinid {soma_joinids[0]} to {soma_joinids[-1]}"
        begin = np.concatenate([[0], np.cumsum(nnz, dtype=np.int64)])

        def attempt() -> tuple[np.ndarray, ...]:
            gene, count = np.empty(begin[-1], self.dtype), np.empty(begin[-1], np.uint32)
            kept, seen, total = (np.zeros(len(soma_joinids), np.int64) for _ in range(3))
            for table in self._tables(soma_joinids):
                cell, value = table["soma_dim_0"].to_numpy(), table["soma_data"].to_numpy()
                bad = _scatter(
                    cell, table["soma_dim_1"].to_numpy(), value, soma_joinids, begin, self.vocabulary_id,
                    gene, count, kept, seen, total,
                )  # fmt: skip
                if bad >= 0:
                    dataset = datasets[np.searchsorted(soma_joinids, cell[bad])]
                    raise WcedError(
                        f"dataset {dataset}, cell {cell[bad]}: a raw count is {value[bad]:g}, "
                        f"not a whole number from 0 to {LARGEST_COUNT}"
                    )
            return gene, count, kept, seen, total

        gene, count, kept, seen, total = retried(self.section, where, attempt)
        wrong = np.flatnonzero(seen != nnz)
        if len(wrong):
            first = wrong[0]
            raise WcedError(
                f"dataset {datasets[first]}, cell {soma_joinids[first]}: X has {seen[first]} non-zero counts, "
                f"but obs says nnz {np.asarray(nnz)[first]}"
            )
        offsets = np.concatenate([[0], np.cumsum(kept)])
        inside = np.empty(len(kept), np.int64)
        twice = _pack(begin, kept, offsets, gene, count, inside)
        if twice >= 0:
            raise WcedError(f"dataset {datasets[twice]}, cell {soma_joinids[twice]}: X has two counts of one gene")
        return Counts(offsets, gene[: offsets[-1]], count[: offsets[-1]], total, inside)

    def _tables(self, soma_joinids: np.ndarray):
        """Yield the entries of some cells; after an error open X anew, in a context of its own."""
        import tiledbsoma as soma

        first, last = int(soma_joinids[0]), int(soma_joinids[-1])
        dense = len(soma_joinids) >= DENSE * (last - first + 1)
        rows = slice(first, last) if dense else soma_joinids
        try:
            yield from self._x.read(coords=(rows, slice(None))).tables()
        except (soma.SOMAError, RuntimeError):
            fresh = soma.SOMATileDBContext(tiledb_config=dict(self._x.context.tiledb_config))
            self._x = soma.SparseNDArray.open(self._x.uri, context=fresh)
            raise


@numba.njit(nogil=True, cache=True)
def _scatter(cell, column, value, joinids, begin, vocabulary_id, gene, count, kept, seen, total):
    """Write entries of X where their cells' genes belong: from `begin[row]` on, as many as obs says there are.

    Returns the index of an entry that is no count, or -1.
    """
    k = 0
    while k < len(cell):
        joinid = cell[k]  # entries of a cell come in runs
        row = np.searchsorted(joinids, joinid)
        if row == len(joinids) or joinids[row] != joinid:
            while k < len(cell) and cell[k] == joinid:
                k += 1
            continue
        to, end, nonzero, counted = begin[row] + kept[row], begin[row + 1], np.int64(0), np.int64(0)
        while k < len(cell) and cell[k] == joinid:
            x = np.float64(value[k])
            if not (0 <= x <= LARGEST_COUNT):
                return k
            whole = np.int64(x)
            if whole != x:
                return k
            if whole > 0:
                counted += whole
                nonzero += 1
                if to < end:
                    # The next gene overwrites one outside the vocabulary: faster than an unpredictable branch.
                    id_ = vocabulary_id[column[k]]
                    gene[to] = id_
                    count[to] = whole
                    to += id_ >= 0
            k += 1
        kept[row], seen[row], total[row] = to - begin[row], seen[row] + nonzero, total[row] + counted
    return -1


@numba.njit(nogil=True, cache=True)
def _pack(begin, kept, offsets, gene, count, inside):
    """Move every cell's genes to `offsets` within the arrays, ids ascending; sum its counts into `inside`.

    Returns a cell that has a gene twice, or -1.
    """
    for row in range(len(kept)):
        start, to, n = begin[row], offsets[row], kept[row]
        ascending = True
        for k in range(start + 1, start + n):
            if gene[k] <= gene[k - 1]:
                ascending = False
                break
        if not ascending:
            order = np.argsort(gene[start : start + n], kind="mergesort")
            gene[start : start + n] = gene[start : start + n][order]
            count[start : start + n] = count[start : start + n][order]
        total = np.int64(0)
        for k in range(n):
            # Cells before this one leave room, so nothing is overwritten before it has moved.
            gene[to + k] = gene[start + k]
            count[to + k] = count[start + k]
            total += count[start + k]
            if k and gene[to + k] == gene[to + k - 1]:
                return row
        inside[row] = total
    return -1

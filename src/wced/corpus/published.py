"""A published file of counts, once it is open: whatever its format, cells, genes and checked blocks of counts."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from wced.corpus import matrices
from wced.corpus.opening import one_line
from wced.errors import WcedError

PER_10K = 1000
"""Stored parts of one count per 10,000 where log1p values stand for counts: the largest such value, 10,000, is then
below LARGEST_COUNT, and log1p changes by less than 0.0005 when a part is rounded."""

LARGEST_COUNT = 2**24
"""Largest count that float32, in which CELLxGENE keeps counts, holds exactly along with all smaller ones."""


@dataclass(frozen=True)
class Published:
    """A file of counts as published: what its cells and genes are, and its counts a block of cells at a time."""

    where: str
    """Path and place of the matrix, for sentences about it."""
    obs: pd.DataFrame
    """All cells; the index is their names."""
    var: pd.DataFrame
    """All genes. Of 10x's formats the index is the Ensembl ids, and `gene_symbols` a column."""
    stored: Callable[[], AbstractContextManager[matrices.Stored]]
    """Opens the matrix, all cells × all features, for a while."""
    features: np.ndarray | None = None
    """Columns of the matrix that are genes, where not all are."""
    values: str = "counts"
    """What the matrix holds: `counts` or `log1p_10k`."""
    advice: Callable[[sparse.csr_matrix], str] = lambda _: ""
    """Says of some cells that are no counts what they hold, and which other place of the file looks raw."""

    def counts(self, rows: np.ndarray) -> Iterator[sparse.csr_matrix]:
        """Give the checked counts of some cells (ascending numbers), block after block; cells × `var`, whole numbers.

        Of log1p_10k they are thousandths of counts per 10,000, rounded: round(1000 · (eˣ − 1)).

        Raises
        ------
        WcedError
            If the file is damaged, or a count is negative, not whole, not finite or too large; the sentence says where.
            If the values are to be log1p_10k and can not be: all whole, or more than 10,000 counts in a cell.
        """
        done = 0
        try:
            with self.stored() as stored:
                for block in matrices.blocks(stored, rows):
                    block = block if self.features is None else block[:, self.features]
                    if self.values == "log1p_10k":
                        block = self._from_log1p(block)
                    self._check(block, rows[done : done + block.shape[0]])
                    done += block.shape[0]
                    yield block
        except (OSError, EOFError, KeyError, ValueError, TypeError) as failure:
            raise WcedError(f"{self.where} cannot be read: {one_line(failure)}") from None

    def _check(self, block: sparse.csr_matrix, rows: np.ndarray) -> None:
        values = block.data
        for wrong, what, other_kind in (
            (~np.isfinite(values), "is not a finite number", False),
            (values < 0, "is negative", True),
            (values != np.rint(values), "is not a whole number", True),
            (values > LARGEST_COUNT, f"is larger than {LARGEST_COUNT}", False),
        ):
            if wrong.any():
                first = int(np.argmax(wrong))
                row = int(np.searchsorted(block.indptr, first, side="right")) - 1
                cell, gene = self.obs.index[rows[row]], self.var.index[block.indices[first]]
                advice = self.advice(block[row:]) if other_kind else ""
                raise WcedError(
                    f"{self.where}: the count of gene {gene} in cell {cell} is {values[first]:g}, which {what}{advice}"
                )

    def _from_log1p(self, block: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return what `counts` gives of log1p_10k; values that can not be any stay, for the check to find."""
        block = block.astype(np.float64)
        values = block.data
        if len(values) and np.array_equal(values, np.rint(values)):
            raise WcedError(f"{self.where}: all values are whole numbers, so they are no log1p of counts per 10,000")
        right = np.isfinite(values) & (values > 0)
        # Without the limit a value that is no logarithm overflows.
        values[right] = np.rint(PER_10K * np.expm1(np.minimum(values[right], 20)))
        largest = np.asarray(block.sum(axis=1)).max(initial=0) / PER_10K
        if largest > 1e4 * 1.01:
            raise WcedError(
                f"{self.where}: by its values a cell has {largest:.6g} counts per 10,000, so they are no natural "
                "logarithms (log1p) of counts per 10,000"
            )
        return block

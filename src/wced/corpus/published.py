"""A published file of counts, once it is open: cells, genes, checked blocks of counts, or what it holds instead."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from wced.corpus import matrices
from wced.errors import WcedError, one_line

LARGEST_COUNT = 2**24
"""Largest count that float32, in which CELLxGENE keeps counts, holds exactly along with all smaller ones."""

BINARISED = 1000
"""So many ones and nothing larger are no counts: of a cell's counts some always fall on one gene."""

KIND_COLUMNS = ("feature_types", "feature_type", "modality")
"""Columns of var that say what kind of feature each is: of 10x and scanpy, of others, of muon."""

EXPRESSION = ("gene expression", "gex", "rna")
"""Kinds of features that are genes, in small letters and without underscores."""

OTHERS = (
    "antibody capture", "antibody", "antibodies", "adt", "ab", "protein", "proteins", "prot", "antigen capture",
    "crispr guide capture", "guide", "guides", "grna", "sgrna", "multiplexing capture", "hto", "hashtag", "hashtags",
    "custom", "peaks", "peak", "atac", "chromatin accessibility",
)  # fmt: skip
"""Kinds of features that are no genes; `feature_type` in CELLxGENE's files holds biotypes of genes instead."""

WRONG = (
    (lambda values: ~np.isfinite(values), "is not a finite number", False),
    (lambda values: values < 0, "is negative", True),
    (lambda values: values != np.rint(values), "is not a whole number", True),
    (lambda values: values > LARGEST_COUNT, f"is larger than {LARGEST_COUNT}", False),
)
"""What a count must not be, in words, and whether the matrix may then hold something else than counts."""

SAMPLE = 500
"""Cells that are examined to tell what a matrix holds."""

Candidates = Mapping[str, tuple[Callable[[], matrices.Stored | None], str]]
"""Matrices by their names: how to open each, and how to ask for it."""

NOWHERE = "; no other matrix of the file looks raw"

RAW, LOG = "raw counts", "values that look log-normalised"

PER_CELL = 1e4
"""Counts per cell after normalisation."""

MOST, FEW = 10_000, 20
"""The smallest count of a cell is taken for at most MOST / its number of genes, or FEW: of many genes some have one
or two counts. A large number fits by chance, too, so it is looked for only where there are few genes."""

MOST_FACTOR = 100
"""Largest common factor of a cell's counts that is looked for."""

ROUNDINGS = 4
"""Rounding errors of a value: total, division and logarithm each add one or two."""


@dataclass(frozen=True)
class Published:
    """A file of counts as published: its cells and genes, and its counts a block of cells at a time."""

    where: str
    """Path and name of the matrix, for sentences about it."""
    obs: pd.DataFrame
    """All cells; the index is their names."""
    var: pd.DataFrame
    """All genes. Of 10x's formats the index is the Ensembl ids, and `gene_symbols` a column."""
    stored: Callable[[], AbstractContextManager[matrices.Stored]]
    """Opens the matrix, all cells × all features, for a while."""
    features: np.ndarray | None = None
    """Columns of the matrix that are `var`; None for all."""
    left_out: str = ""
    """How many features of which other kinds were left out, as `6 Antibody Capture`; empty where none was."""
    values: str = "counts"
    """What the matrix holds: `counts` or `log1p_10k`."""
    advice: Callable[[sparse.csr_matrix], str] = lambda _: ""
    """Returns what some cells hold that are no counts, and which other matrix of the file looks raw."""

    def of_genes(self) -> "Published":
        """Return the same without the features that are no genes, by the first informative one of `KIND_COLUMNS`.

        Where a feature is called gene expression, only such features stay, and those without a kind. Raises WcedError
        if no feature is left.
        """
        for column in (name for name in self.var if str(name).lower() in KIND_COLUMNS):
            kinds = self.var[column].astype(object).where(self.var[column].notna(), "").astype(str)
            kind = kinds.str.lower().str.replace(r"[_\-\s]+", " ", regex=True).str.strip()
            other = ~kind.isin((*EXPRESSION, "")) if kind.isin(EXPRESSION).any() else kind.isin(OTHERS)
            if other.all():
                raise WcedError(f"{self.where}: no feature is gene expression; {column} of var says {kinds.iloc[0]}")
            if other.any():
                numbers = kinds[other].value_counts().sort_index()
                left_out = ", ".join(f"{n} {name}" for name, n in numbers.items())
                kept = np.flatnonzero(~other)
                return replace(self, var=self.var.iloc[kept], features=kept, left_out=left_out)
        return self

    def counts(self, rows: np.ndarray | None = None) -> Iterator[sparse.csr_matrix]:
        """Yield the checked counts of cells (ascending rows of `obs`, all by default), block after block.

        A block is cells × `var`, whole numbers, one entry for each. Of log1p_10k they are the counts that the values
        were made of (`counts_from_log1p`). Raises WcedError if the file is damaged; if a count is negative, not whole,
        not finite or too large, and where; if all are zero or one; if the values should be log1p_10k and are not.
        """
        rows, done, ones, largest = np.arange(len(self.obs)) if rows is None else rows, 0, 0, 0
        try:
            with self.stored() as stored:
                for block in matrices.blocks(stored, rows):
                    block = block if self.features is None else block[:, self.features]
                    of_block = rows[done : done + block.shape[0]]
                    if self.values == "log1p_10k":
                        block = self._from_log1p(block, of_block)
                    self._check(block, of_block, WRONG)
                    done += block.shape[0]
                    ones += np.count_nonzero(block.data)
                    largest = max(largest, block.data.max(initial=0))
                    yield block
        except (OSError, EOFError, KeyError, IndexError, ValueError, TypeError) as failure:
            raise WcedError(f"{self.where} cannot be read: {one_line(failure)}") from None
        if largest == 1 and ones >= BINARISED:
            raise WcedError(
                f"{self.where}: holds zeros and ones only, which say whether a gene is expressed and are no counts"
                f"{self.advice(block)}"
            )

    def _check(self, block: sparse.csr_matrix, rows: np.ndarray, wrong: Sequence[tuple]) -> None:
        for is_wrong, what, other_kind in wrong:
            if (at := is_wrong(block.data)).any():
                first = int(np.argmax(at))
                row = int(np.searchsorted(block.indptr, first, side="right")) - 1
                cell, gene = self.obs.index[rows[row]], self.var.index[block.indices[first]]
                advice = self.advice(block[row:]) if other_kind else ""
                raise WcedError(
                    f"{self.where}: the count of gene {gene} in cell {cell} is {block.data[first]:g}, which {what}"
                    f"{advice}"
                )

    def _from_log1p(self, block: sparse.csr_matrix, rows: np.ndarray) -> sparse.csr_matrix:
        self._check(block, rows, WRONG[:2])
        values = block.data.astype(np.float64)
        if len(values) and np.array_equal(values, np.rint(values)):
            raise WcedError(f"{self.where}: all values are whole numbers, so they are no log1p of counts per 10,000")
        # Without the limit a value that is no logarithm overflows.
        per_10k = sparse.csr_matrix((np.expm1(np.minimum(values, 20)), block.indices, block.indptr), block.shape)
        largest = np.asarray(per_10k.sum(axis=1)).max(initial=0)
        if largest > PER_CELL * 1.01:
            raise WcedError(
                f"{self.where}: by its values a cell has {largest:.6g} counts per 10,000, so they are no natural "
                "logarithms (log1p) of counts per 10,000"
            )
        counts_ng, refused = counts_from_log1p(block)
        if refused is not None:
            raise WcedError(
                f"{self.where}: the values of cell {self.obs.index[rows[refused]]} are no natural logarithms (log1p) "
                "of counts per 10,000, or were changed since: their e^x - 1 are not whole multiples of one number"
            )
        return counts_ng


def advice(x_ng: sparse.csr_matrix, here: str, candidates: Candidates) -> str:
    """Return the end of a sentence: what the matrix `here` holds, where raw counts may be, or what else to do.

    `x_ng` are some of its cells, from one on that holds no counts; `candidates` are all matrices of the file or
    AnnData.
    """
    holds, where, remedy = kind(x_ng[:SAMPLE]), elsewhere(here, candidates), ""
    if where == NOWHERE and holds.startswith(("log-normalised values (expm1 of each cell adds up to 10000", LOG)):
        remedy = "; wced source gives counts back, with values log1p_10k"
    elif where == NOWHERE and ("not whole" in holds or "but for" in holds):
        remedy = "; round them if they are estimated counts (kallisto, RSEM, SoupX)"
    return f"; {here} holds {holds}{where}{remedy}"


def elsewhere(here: str, candidates: Candidates) -> str:
    """Return the end of a sentence: which matrices other than `here` look raw."""
    raw = [name for name, (stored, _) in candidates.items() if name != here and kind(_sample(stored)) == RAW]
    if raw:
        return f"; {' and '.join(raw)} look{'s' if len(raw) == 1 else ''} raw: {candidates[raw[0]][1]}"
    return NOWHERE


def kind(x_ng: sparse.csr_matrix | None) -> str:
    """Return in words what some cells of a matrix hold, `RAW` for counts; None stands for what cannot be read.

    log1p-normalised values are recognised by expm1 of a cell's values adding up to the same total in all cells; where
    genes were left out afterwards, by being no whole numbers and small.
    """
    if x_ng is None or x_ng.nnz == 0:
        return "nothing"
    values = x_ng.data.astype(np.float64)
    if not np.isfinite(values).all():
        return "values that are not finite"
    if (values < 0).any():
        return "negative values, as scaled data does"
    fractions = np.mean(values != np.rint(values))
    if fractions == 0:
        return RAW if values.max() > 1 else "zeros and ones"
    if fractions <= 0.5:
        return f"whole numbers but for {fractions:.1%} of them"
    starts = x_ng.indptr[:-1][np.diff(x_ng.indptr) > 0]
    for what, counts in (
        ("log-normalised values (expm1 of each cell adds up to", np.expm1(np.minimum(values, 50.0))),
        ("normalised counts (each cell adds up to", values),
    ):
        totals = np.add.reduceat(counts, starts)
        # Totals that come from scaling to one total differ by rounding only.
        if len(totals) > 1 and np.ptp(totals) <= 1e-3 * np.median(totals):
            return f"{what} {np.median(totals):.0f})"
    # Logarithms of counts are below 20 (e^20 = 5e8); counts of a cell seldom are.
    if values.max() < 20 and counts_from_log1p(x_ng)[1] is None:
        return LOG
    return "values that are not whole"


def _sample(stored: Callable[[], matrices.Stored | None]) -> sparse.csr_matrix | None:
    """Return the first cells of a matrix, None where there is no readable one."""
    try:
        block = next(matrices.blocks(stored(), np.arange(SAMPLE)), None)
    except Exception:  # advice about another matrix must not hide what is wrong with this one
        return None
    return None if block is None else block[:SAMPLE]


def counts_from_log1p(x_ng: sparse.csr_matrix) -> tuple[sparse.csr_matrix, int | None]:
    r"""Return the counts behind log1p-normalised values, and the first row that has none (None if all have).

    A cell of total T has :math:`x_g = \ln(1 + 10^4 c_g / T)`, so :math:`y_g = e^{x_g} - 1` is a whole multiple of
    :math:`s = 10^4 / T`, whichever genes are left of the cell. The smallest :math:`y` is :math:`k s` for some whole k,
    most often 1; the first k for which all :math:`k y_g / \min_g y_g` are whole gives the counts up to a common factor,
    of which the first is taken that makes T whole too. (A common factor that is left changes no normalised value.)

    Values are finite and none is negative, cells × genes, as precise as float32, or all of them float16. Counts are
    whole numbers in float64.
    """
    counts_ng = x_ng.astype(np.float64)
    counts_ng.eliminate_zeros()
    x, filled_n = counts_ng.data, np.diff(counts_ng.indptr) > 0
    if not len(x):
        return counts_ng, None
    cell = np.repeat(np.cumsum(filled_n) - 1, np.diff(counts_ng.indptr))
    y, starts = np.expm1(x), counts_ng.indptr[:-1][filled_n]
    lowest_n = np.minimum.reduceat(y, starts)
    ratio = y / lowest_n[cell]
    # Relative errors of y; that of 1 + y is that of x times x. The ratio has those of two values.
    eps = 2.0**-11 if np.array_equal(x, x.astype(np.float16)) else 2.0**-24
    error = ROUNDINGS * eps * (1 + x * (1 + y) / y)
    error_n = np.minimum.reduceat(error, starts)  # of the smallest value
    error += error_n[cell]
    k_n, left = np.zeros(len(starts), np.int64), np.ones(len(y), bool)
    most_n = np.maximum(MOST // np.bincount(cell), FEW)
    for k in range(1, most_n.max() + 1):
        multiple = k * ratio[left]
        wrong = np.abs(multiple - np.rint(multiple)) > multiple * error[left]
        open_n = np.bincount(cell[left][wrong], minlength=len(starts)) > 0
        k_n[(k_n == 0) & (most_n >= k) & ~open_n] = k
        left = (open_n & (most_n > k))[cell]
        if not left.any():
            break
    if (k_n == 0).any():
        return counts_ng, int(np.flatnonzero(filled_n)[(k_n == 0).argmax()])
    factor_n = np.ones(len(starts), np.int64)
    for factor in range(MOST_FACTOR, 0, -1):
        total_n = factor * PER_CELL * k_n / lowest_n
        whole_n = np.abs(total_n - np.rint(total_n)) <= total_n * error_n
        factor_n[whole_n & (total_n * error_n < 0.1)] = factor  # a larger error tells nothing
    counts_ng.data = np.rint(ratio * (k_n * factor_n)[cell])
    return counts_ng, None

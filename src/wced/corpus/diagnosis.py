"""What a matrix holds that should hold raw counts and does not, and which other matrix of the file looks raw."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import sparse

from wced.corpus import log1p, matrices

SAMPLE = 500
"""Cells that are looked at."""

EVEN = 1e-3
"""Largest relative difference of cells' totals that all come from scaling to one total."""

LOG_LARGEST = 20.0
"""Values below this, e^20 = 5e8 counts, may be logarithms of counts; counts of a cell seldom stay below it."""

Candidates = Mapping[str, tuple[Callable[[], matrices.Stored | None], str]]
"""Matrices by their names: how to open each, and how to ask for it."""

NOWHERE = "; no other matrix of the file looks raw"

RAW, LOG = "raw counts", "values that look log-normalised"


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
        if len(totals) > 1 and np.ptp(totals) <= EVEN * np.median(totals):
            return f"{what} {np.median(totals):.0f})"
    if values.max() < LOG_LARGEST and log1p.counts_of(x_ng)[1] is None:
        return LOG
    return "values that are not whole"


def _sample(stored: Callable[[], matrices.Stored | None]) -> sparse.csr_matrix | None:
    """Return the first cells of a matrix, None where there is no readable one."""
    try:
        block = next(matrices.blocks(stored(), np.arange(SAMPLE)), None)
    except Exception:  # advice about another matrix must not hide what is wrong with this one
        return None
    return None if block is None else block[:SAMPLE]

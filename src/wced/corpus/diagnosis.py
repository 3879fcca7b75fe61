"""What a matrix holds that should hold raw counts and does not, and which other place of the file looks raw."""

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


Places = Mapping[str, tuple[Callable[[], matrices.Stored | None], str]]
"""Matrices by the names of their places: how to open each, and how to ask for it."""


def advice(x_ng: sparse.csr_matrix, here: str, places: Places) -> str:
    """Return the end of a sentence: what the place `here` holds, where raw counts may be, or what else to do.

    Parameters
    ----------
    x_ng
        Some cells, from one on that holds no counts.
    here
        The place.
    places
        All matrices of the file or AnnData.
    """
    found, where, remedy = kind(x_ng[:SAMPLE]), elsewhere(here, places), ""
    if where == NOWHERE and found.startswith(("log-normalised values (expm1 of each cell adds up to 10000", LOG)):
        remedy = "; wced source gives counts back, with values log1p_10k"
    elif where == NOWHERE and ("not whole" in found or "but for" in found):
        remedy = "; round them if they are estimated counts (kallisto, RSEM, SoupX)"
    return f"; {here} holds {found}{where}{remedy}"


def elsewhere(here: str, places: Places) -> str:
    """Return the end of a sentence: which places other than `here` look raw."""
    raw = [name for name, (stored, _) in places.items() if name != here and kind(_sample(stored)) == RAW]
    if raw:
        return f"; {' and '.join(raw)} look{'s' if len(raw) == 1 else ''} raw: {places[raw[0]][1]}"
    return NOWHERE


NOWHERE = "; no other matrix of the file looks raw"

RAW, LOG = "raw counts", "values that look log-normalised"


def kind(x_ng: sparse.csr_matrix | None) -> str:
    """Return in words what a matrix holds, `RAW` for counts.

    Parameters
    ----------
    x_ng
        Some cells × all genes; None for what cannot be read.

    Notes
    -----
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
    if (values == np.rint(values)).all():
        return RAW if values.max() > 1 else "zeros and ones"
    fractions = np.mean(values != np.rint(values))
    if fractions <= 0.5:
        return f"whole numbers but for {fractions:.1%} of them"
    filled = np.diff(x_ng.indptr) > 0
    for what, totals in (
        ("log-normalised values (expm1 of each cell adds up to", np.expm1(np.minimum(values, 50.0))),
        ("normalised counts (each cell adds up to", values),
    ):
        totals = np.add.reduceat(totals, x_ng.indptr[:-1][filled])
        if len(totals) > 1 and np.ptp(totals) <= EVEN * np.median(totals):
            return f"{what} {np.median(totals):.0f})"
    if values.max() < LOG_LARGEST and log1p.counts_of(x_ng)[1] is None:
        return LOG
    return "values that are not whole"


def _sample(stored: Callable[[], matrices.Stored | None]) -> sparse.csr_matrix | None:
    """Return the first cells of a matrix, None where there is no readable one."""
    try:
        block = next(matrices.blocks(stored(), np.arange(SAMPLE)), None)
    except Exception:  # advice about another place must not hide what is wrong with this one
        return None
    return None if block is None else block[:SAMPLE]

"""What a matrix holds that should hold raw counts and does not, and which other place of the file looks raw."""

from pathlib import Path

import h5py
import numpy as np
from scipy import sparse

from wced.corpus import matrices
from wced.corpus.opening import opened

SAMPLE = 500
"""Cells that are looked at."""

EVEN = 1e-3
"""Largest relative difference of cells' totals that all come from scaling to one total."""

LOG_LARGEST = 20.0
"""Values below this, e^20 = 5e8 counts, may be logarithms of counts; counts of a cell seldom stay below it."""


def of_file(path: str | Path, counts: str, x_ng: sparse.csr_matrix) -> str:
    """Return the end of a sentence: what the place `counts` of an h5ad file holds, and where raw counts may be.

    Parameters
    ----------
    path, counts
        The file and the place.
    x_ng
        Some of its cells, from one on that holds no counts.
    """
    with opened(path, "h5ad") as file:
        return f"; {counts} holds {kind(x_ng[:SAMPLE])}{elsewhere(file, counts)}"


def elsewhere(file: h5py.File, counts: str) -> str:
    """Return the end of a sentence: which places other than `counts` look raw."""
    places = ["X", "raw", *(f"layers/{name}" for name in file.get("layers", {}))]
    raw = [place for place in places if place != counts and kind(_sample(file, place)) == RAW]
    if raw:
        return f"; {' and '.join(raw)} look{'s' if len(raw) == 1 else ''} raw: set counts to {raw[0]}"
    return "; no other matrix of the file looks raw"


RAW = "raw counts"


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
    return "values that look log-normalised" if values.max() < LOG_LARGEST else "values that are not whole"


def _sample(file: h5py.File, place: str) -> sparse.csr_matrix | None:
    """Return the first cells of a matrix, None where there is no readable one."""
    key = "raw/X" if place == "raw" else place
    if key not in file:
        return None
    try:
        block = next(matrices.blocks(file[key], np.arange(SAMPLE)), None)
    except Exception:  # advice about another place must not hide what is wrong with this one
        return None
    return None if block is None else sparse.csr_matrix(block[:SAMPLE])

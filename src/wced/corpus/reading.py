"""Reading raw counts out of h5ad files of any age, only the cells that are wanted."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from wced.errors import WcedError
from wced.files import existing

BLOCK = 8192
"""Rows of a dense matrix that are read at once."""

LARGEST_COUNT = 2**24
"""Largest count that float32, in which CELLxGENE keeps counts, holds exactly along with all smaller ones."""


@dataclass(frozen=True)
class RawCells:
    """The wanted cells of a file, as published."""

    counts_ng: sparse.csr_matrix
    """float32, cells × genes of the file: whole numbers."""
    obs: pd.DataFrame
    """obs of these cells; the index is their names."""
    var: pd.DataFrame
    """var of all genes."""
    n_in_file: int
    """Cells of the file, wanted or not."""


def read_obs(path: str | Path) -> pd.DataFrame:
    """Return obs of an h5ad file.

    Raises
    ------
    WcedError
        If the file is no h5ad file or is damaged.
    """
    with _opened(path) as file:
        return _frame(file, "obs", path)


def read_h5ad(path: str | Path, counts: str = "X", keep: str | None = None) -> RawCells:
    """Read the counts of the cells that a condition keeps.

    Parameters
    ----------
    path
        An h5ad file; of any version of anndata.
    counts
        `X`, `raw` (whose own genes are then returned) or `layers/NAME`.
    keep
        Condition on columns of obs, in the language of `pandas.DataFrame.query`; None keeps all cells.

    Raises
    ------
    WcedError
        If the file is no h5ad file or is damaged, if it lacks what was asked for, or if counts are negative, not
        whole, not finite or too large; the sentence says where.
    """
    with _opened(path) as file:
        obs = _frame(file, "obs", path)
        matrix, genes = ("raw/X", "raw/var") if counts == "raw" else (counts, "var")
        var = _frame(file, genes, path)
        if matrix not in file:
            raise WcedError(f"{path}: has no {counts}; counts were expected there")
        rows = np.arange(len(obs)) if keep is None else _kept(obs, keep, path)
        try:
            counts_ng = _rows(file[matrix], rows)
        except (OSError, KeyError, ValueError, TypeError) as failure:
            raise WcedError(f"{path}: {counts} cannot be read: {failure}") from None
    if counts_ng.shape != (len(rows), len(var)):
        raise WcedError(f"{path}: {counts} is {counts_ng.shape[0]} × {counts_ng.shape[1]}, but there are "
                        f"{len(rows)} cells and {len(var)} genes")  # fmt: skip
    raw = RawCells(counts_ng, obs.iloc[rows], var, len(obs))
    _check_counts(raw, f"{path}, {counts}")
    return RawCells(counts_ng.astype(np.float32), raw.obs, var, len(obs))


def _opened(path: str | Path) -> h5py.File:
    try:
        return h5py.File(existing(path, "an h5ad file"), "r")
    except OSError as failure:
        raise WcedError(f"{path}: not an h5ad file, or a truncated one: {failure}") from None


def _frame(file: h5py.File, key: str, path: str | Path) -> pd.DataFrame:
    if key not in file:
        raise WcedError(f"{path}: has no {key}; expected an h5ad file with it")
    try:
        frame = read_elem(file[key])
    except Exception as failure:  # anndata wraps whatever went wrong in errors of its own
        raise WcedError(f"{path}: {key} cannot be read: {' '.join(str(failure).split())}") from None
    if isinstance(frame, np.ndarray):
        # Before anndata 0.7 a data frame was one compound array, its first field the index.
        frame = pd.DataFrame.from_records(frame)
        for name in frame.select_dtypes("object").columns:
            frame[name] = [text.decode() if isinstance(text, bytes) else text for text in frame[name]]
        frame = frame.set_index(frame.columns[0])
    frame.index = frame.index.astype(str)
    return frame


def _kept(obs: pd.DataFrame, keep: str, path: str | Path) -> np.ndarray:
    try:
        mask = obs.eval(keep, engine="python")
        return np.flatnonzero(np.asarray(mask).astype(bool) & np.ones(len(obs), bool))
    except Exception as failure:  # the condition may be anything, and so may its failure
        raise WcedError(f"{path}: the condition {keep!r} on obs fails: {failure}") from None


def _rows(stored: h5py.Group | h5py.Dataset, rows: np.ndarray) -> sparse.csr_matrix:
    """Return some rows of a stored matrix, dense or sparse."""
    if isinstance(stored, h5py.Group):
        matrix = sparse_dataset(stored)
        whole = len(rows) == matrix.shape[0] or matrix.format == "csc"
        chosen = sparse.csr_matrix(matrix.to_memory())[rows] if whole else matrix[rows]
        return sparse.csr_matrix(chosen)
    n, wanted = stored.shape[0], np.zeros(stored.shape[0], bool)
    wanted[rows] = True
    blocks = [
        sparse.csr_matrix(stored[start : start + BLOCK][wanted[start : start + BLOCK]]) for start in range(0, n, BLOCK)
    ]
    return sparse.vstack(blocks, format="csr")


def _check_counts(raw: RawCells, where: str) -> None:
    values = raw.counts_ng.data
    for wrong, what in (
        (~np.isfinite(values), "is not a finite number"),
        (values < 0, "is negative"),
        (values != np.rint(values), "is not a whole number"),
        (values > LARGEST_COUNT, f"is larger than {LARGEST_COUNT}"),
    ):
        if wrong.any():
            first = int(np.argmax(wrong))
            cell = raw.obs.index[np.searchsorted(raw.counts_ng.indptr, first, side="right") - 1]
            gene = raw.var.index[raw.counts_ng.indices[first]]
            raise WcedError(f"{where}: the count of gene {gene} in cell {cell} is {values[first]:g}, which {what}")

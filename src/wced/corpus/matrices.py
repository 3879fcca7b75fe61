"""Matrices of counts on disk, read a block of cells at a time so that memory does not grow with the file."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import h5py
import numpy as np
from anndata.io import sparse_dataset
from scipy import sparse

BLOCK = 2**22
"""Stored values that are read at once; a single cell may have more."""

Stored = h5py.Group | h5py.Dataset | sparse.csr_matrix | np.ndarray
"""A sparse matrix or a dense one in an HDF5 file or in memory; cells × genes."""


def shape_of(stored: Stored) -> tuple[int, int]:
    """Return cells and genes of a stored matrix; a group without a shape of its own is genes × cells, as 10x has it."""
    if not isinstance(stored, h5py.Group):
        n, g = stored.shape
    elif "shape" in stored:
        g, n = stored["shape"][:]
    else:
        n, g = sparse_dataset(stored).shape
    return int(n), int(g)


def blocks(stored: Stored, rows: np.ndarray) -> Iterator[sparse.csr_matrix]:
    """Yield some cells (ascending rows) of a stored matrix × all genes, block after block.

    A block has one entry per gene of a cell, ascending. Several stored entries of one gene are added up, as SciPy reads
    them. The matrix itself stays as it is. One that is stored by genes (CSC) is read as a whole, because its cells lie
    all over the file.
    """
    read, edges = _reader(stored)
    for start, stop in pairwise(edges.tolist()):
        first, last = np.searchsorted(rows, [start, stop])
        if first < last:
            block = read(start, stop)
            if not block.has_canonical_format:
                block = block.astype(np.float64)  # a copy, in which no narrow type overflows
                block.sum_duplicates()
            yield block if last - first == stop - start else block[rows[first:last] - start]


def _reader(stored: Stored) -> tuple[Callable[[int, int], sparse.csr_matrix], np.ndarray]:
    """Return how to read a range of cells, and the edges of ranges of about BLOCK stored values."""
    n, g = shape_of(stored)
    if isinstance(stored, h5py.Group) and "shape" not in stored and sparse_dataset(stored).format == "csc":
        stored = sparse.csr_matrix(sparse_dataset(stored).to_memory())
    if isinstance(stored, h5py.Group):
        data, indices, indptr = stored["data"], stored["indices"], stored["indptr"]
        if indptr.shape == (n + 1,):  # of any other length it is refused below, and may be too long to be read
            indptr = indptr[:]
    elif isinstance(stored, sparse.csr_matrix):
        data, indices, indptr = stored.data, stored.indices, stored.indptr
    else:
        # Whole chunks, which would otherwise be decompressed once for every block that touches them.
        chunk = stored.chunks[0] if isinstance(stored, h5py.Dataset) and stored.chunks else 1
        step = -(-max(1, BLOCK // max(g, 1)) // chunk) * chunk
        edges = np.append(np.arange(0, n, step), n)
        return lambda start, stop: sparse.csr_matrix(_plain(np.asarray(stored[start:stop]))), edges
    if indptr.shape != (n + 1,) or (np.diff(indptr) < 0).any() or not indptr[-1] <= min(len(data), len(indices)):
        raise ValueError(f"its {indptr.shape[0]} row pointers do not fit {n} cells and {len(data)} values")

    def read(start: int, stop: int) -> sparse.csr_matrix:
        first, last = int(indptr[start]), int(indptr[stop])
        columns = indices[first:last]
        if len(columns) and not (columns.min() >= 0 and columns.max() < g):
            raise ValueError(f"a value is in column {columns.max()} of {g}")
        values = _plain(data[first:last])
        return sparse.csr_matrix((values, columns, indptr[start : stop + 1] - first), (stop - start, g))

    inner = np.searchsorted(indptr, np.arange(BLOCK, indptr[-1], BLOCK))
    return read, np.unique(np.concatenate([[0], inner, [n]]))


def _plain(values: np.ndarray) -> np.ndarray:
    """Return values in a type that SciPy can compute with."""
    wider = {"?": np.uint8, "e": np.float32}.get(values.dtype.char, values.dtype.newbyteorder("="))
    return values.astype(wider, copy=False)

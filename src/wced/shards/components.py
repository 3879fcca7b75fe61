"""Principal components of the training cells of a corpus."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

from wced.errors import WcedError
from wced.shards.cells import CellSource

MOST_CELLS = 100_000
"""Training cells that components are computed from unless config says; more change them little."""


def log1p_10k(counts_ng: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return log1p(counts per 10,000), float32; a cell without any count stays empty."""
    x_ng = sparse.csr_matrix(counts_ng, dtype=np.float32, copy=True)
    total_n = np.asarray(x_ng.sum(axis=1, dtype=np.float64)).ravel()
    x_ng.data = np.log1p(x_ng.data * np.repeat(1e4 / np.maximum(total_n, 1), np.diff(x_ng.indptr))).astype(np.float32)
    return x_ng


def principal_components(
    shards: CellSource, n_components: int, most_cells: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of every gene over the training cells, and the loadings of the principal components.

    Values are log1p(counts per 10,000 of the vocabulary's genes), centred by the mean of the cells whose dataset
    measured the gene. Where a dataset did not measure it, the value is that mean, so 0 after centring. The singular
    vectors of this matrix X - M are found by ARPACK from products with the sparse X and, as rows of M are the same for
    all cells of a dataset, with a matrix of one row per dataset: nothing of cells × genes is ever dense.

    Where there are more than `most_cells` training cells, so many are sampled: 100,000 of 1,700 genes take 1.4 GB.
    `seed` is that of the sample and of the start of the iteration.

    Means are float32, (vocabulary,); loadings float32, vocabulary × k: orthonormal columns, the largest variance first.
    Raises WcedError if there are not more cells and genes than components.
    """
    rng, rows = np.random.default_rng(seed), shards.places("train")
    if len(rows) > most_cells:
        rows = np.sort(rng.choice(rows, most_cells, replace=False))
    n, v, k = len(rows), shards.measured_dv.shape[1], n_components
    if k >= min(n, v):
        raise WcedError(f"{k} principal components asked for, but the corpus has {n} training cells and {v} genes")
    cells = shards.take(rows)
    x_nv = log1p_10k(sparse.csr_matrix((cells.count, cells.gene, cells.offsets), (n, v)))
    measured_dv = shards.measured_dv[: int(cells.dataset.max()) + 1]
    cells_d = np.bincount(cells.dataset, minlength=len(measured_dv))
    sum_v = np.asarray(x_nv.sum(axis=0, dtype=np.float64)).ravel()
    mean_v = (sum_v / np.maximum(cells_d @ measured_dv, 1)).astype(np.float32)
    mean_dv = measured_dv * mean_v
    one_hot_dn = sparse.csr_matrix((np.ones(n, np.float32), (cells.dataset, np.arange(n))), (len(measured_dv), n))
    centred = LinearOperator(
        (n, v), dtype=np.float32,
        matvec=lambda w: x_nv @ w.ravel() - (mean_dv @ w.ravel())[cells.dataset],
        rmatvec=lambda u: x_nv.T @ u.ravel() - mean_dv.T @ (one_hot_dn @ u.ravel()),
    )  # fmt: skip
    _, value_k, loading_kv = svds(centred, k, v0=rng.standard_normal(min(n, v)).astype(np.float32))
    loading_vk = loading_kv[np.argsort(-value_k, kind="stable")].T
    # The sign of a component is arbitrary; a positive largest loading makes it reproducible.
    largest_k = np.abs(loading_vk).argmax(axis=0)
    loading_vk = loading_vk * np.sign(loading_vk[largest_k, np.arange(k)])
    return mean_v, np.ascontiguousarray(loading_vk, np.float32)

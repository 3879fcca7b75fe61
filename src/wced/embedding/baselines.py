"""Embeddings that take no model: every table shows them beside the models.

Both are fitted on the very cells that they embed, without labels and without knowing of batches.
"""

import numpy as np
from anndata import AnnData

from wced.errors import WcedError

LEAKAGE = "fitted on these cells, unlabelled"
"""What a baseline has seen of the cells it embeds."""


def hvg(adata: AnnData, n_top_genes: int) -> np.ndarray:
    """Return log1p(counts per 10,000) of the most variable genes.

    The normalised dispersion of scanpy's `seurat` flavour, over all batches together; the total is that of all genes.

    Parameters
    ----------
    adata
        Raw counts as X, cells × genes; it is left as it is.
    n_top_genes
        Genes kept, in the order of the genes of `adata`.

    Returns
    -------
    np.ndarray
        Cells × `n_top_genes`, float32.

    Raises
    ------
    WcedError
        If fewer genes are expressed than asked for.
    """
    import scanpy as sc

    log1p_10k = AnnData(X=adata.X.astype(np.float32), var=adata.var[[]])
    sc.pp.filter_genes(log1p_10k, min_cells=1)
    if log1p_10k.n_vars < n_top_genes:
        raise WcedError(
            f"embedding.n_top_genes: {n_top_genes} asked for, but these cells express {log1p_10k.n_vars} genes"
        )
    sc.pp.normalize_total(log1p_10k, target_sum=1e4)
    sc.pp.log1p(log1p_10k)
    dispersion = sc.pp.highly_variable_genes(log1p_10k, flavor="seurat", inplace=False)["dispersions_norm"].to_numpy()
    # A stable sort, so that ties do not decide how many genes are kept; a gene without a dispersion comes last.
    order = np.argsort(-np.nan_to_num(dispersion, nan=-np.inf), kind="stable")
    return np.asarray(log1p_10k.X[:, np.sort(order[:n_top_genes])].toarray(), dtype=np.float32)


def pca(adata: AnnData, n_top_genes: int, n_components: int, seed: int) -> np.ndarray:
    """Return the principal components of `hvg`: centred, not scaled to unit variance (scanpy's and scIB's default).

    Parameters
    ----------
    adata
        Raw counts as X, cells × genes.
    n_top_genes
        Highly variable genes that the components are made from.
    n_components
        Components, the largest variance first.
    seed
        Start of the iteration (ARPACK); the result depends on it only by rounding.

    Returns
    -------
    np.ndarray
        Cells × `n_components`, float32.

    Raises
    ------
    WcedError
        If there are not more cells and genes than components.
    """
    from sklearn.decomposition import PCA

    x_ng = hvg(adata, n_top_genes)
    if n_components >= min(x_ng.shape):
        raise WcedError(
            f"embedding.n_components: {n_components} asked for, but there are {x_ng.shape[0]} cells and "
            f"{x_ng.shape[1]} genes"
        )
    return PCA(n_components, svd_solver="arpack", random_state=seed).fit_transform(x_ng).astype(np.float32)

"""Principal components of highly variable genes."""

import numpy as np
from anndata import AnnData

from wced.embedding.baselines import Cells, Embedded
from wced.embedding.baselines.hvg import hvg
from wced.errors import WcedError


def embed(cells: Cells) -> Embedded:
    """Return the principal components of the cells."""
    settings = cells.settings
    return Embedded(pca(cells.adata, settings.n_top_genes, settings.n_components, cells.seed), cells.leakage())


def pca(adata: AnnData, n_top_genes: int, n_components: int, seed: int) -> np.ndarray:
    """Return the principal components of `hvg`, the largest variance first; cells × components, float32.

    Genes are centred and not scaled to unit variance (the default of scanpy and scIB). There are at most one component
    fewer than cells or genes. The seed starts the iteration (ARPACK); it changes the result only by rounding. WcedError
    is raised if there are not two cells that express two genes.
    """
    from sklearn.decomposition import PCA

    x_ng = hvg(adata, n_top_genes)
    n_components = min(n_components, *(size - 1 for size in x_ng.shape))
    if n_components < 1:
        raise WcedError(f"principal components: there are {x_ng.shape[0]} cells and {x_ng.shape[1]} genes")
    return PCA(n_components, svd_solver="arpack", random_state=seed).fit_transform(x_ng).astype(np.float32)

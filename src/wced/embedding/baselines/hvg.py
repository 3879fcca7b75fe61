"""Highly variable genes, log-normalised."""

import numpy as np
from anndata import AnnData

from wced.embedding.baselines import Cells, Embedded


def embed(cells: Cells) -> Embedded:
    """Return the highly variable genes as they are."""
    return Embedded(hvg(cells.adata, cells.settings.n_top_genes), cells.leakage())


def hvg(adata: AnnData, n_top_genes: int) -> np.ndarray:
    """Return log1p(counts per 10,000) of the most variable genes; cells × genes, float32.

    The total of a cell is that of all genes. Variable is what has a high normalised dispersion (scanpy's flavour
    `seurat`) over all batches together. The genes stay in their order; if fewer are expressed, all of those are kept.
    """
    return np.asarray(highly_variable(adata, n_top_genes).X.toarray(), dtype=np.float32)


def highly_variable(adata: AnnData, n_top_genes: int) -> AnnData:
    """Return the same with the names of the genes; X is sparse."""
    import scanpy as sc

    log1p_10k = AnnData(X=adata.X.astype(np.float32), var=adata.var[[]])
    sc.pp.filter_genes(log1p_10k, min_cells=1)
    sc.pp.normalize_total(log1p_10k, target_sum=1e4)
    sc.pp.log1p(log1p_10k)
    dispersion = sc.pp.highly_variable_genes(log1p_10k, flavor="seurat", inplace=False)["dispersions_norm"].to_numpy()
    # A stable sort, so that ties do not decide how many genes are kept; a gene without a dispersion comes last.
    order = np.argsort(-np.nan_to_num(dispersion, nan=-np.inf), kind="stable")
    return log1p_10k[:, np.sort(order[:n_top_genes])]

"""Embeddings that take no pretrained network: every table shows them beside the models.

A new baseline is one function here, its entry in `BASELINES`, and its name in `wced.config.embedding.Baseline`. All but
`corpus_pca` are fitted on the very cells that they embed, without their labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from anndata import AnnData

from wced.config.embedding import Embedding
from wced.embedding.files import COMMON, OWN
from wced.errors import WcedError

LEAKAGE = "fitted on these cells, unlabelled"
"""What a baseline has seen of the cells it embeds."""

LEAKAGE_BATCH = "fitted on these cells and their batches, unlabelled"
"""The same for one that is told of batches."""


@dataclass(frozen=True)
class Cells:
    """What a baseline may use."""

    adata: AnnData
    """Raw counts as X, cells × genes, indexed by Ensembl id; the technical batch as `obs.batch`."""
    settings: Embedding
    """The section of the config."""
    seed: int
    """Seed of everything that is drawn."""
    corpus: Path | None = None
    """Principal components of the corpus (`wced.embedding.corpus_pca`), for the one baseline that needs them."""

    @property
    def single_batch(self) -> bool:
        """Whether all cells are of one batch."""
        return self.adata.obs["batch"].nunique() < 2

    @property
    def few_genes(self) -> str:
        """What is said beside every score where fewer genes are expressed than the settings ask for."""
        expressed = int((self.adata.X.sum(axis=0) > 0).sum())
        return "" if expressed >= self.settings.n_top_genes else f"; all {expressed} expressed genes"


@dataclass(frozen=True)
class Embedded:
    """What a baseline makes of cells."""

    embedding_nd: np.ndarray
    """Cells × dimensions, float32."""
    leakage: str | None = LEAKAGE
    """What it has seen of these cells; None for one fitted on the corpus, of which the table of leakage tells."""
    n_params: int = 0
    """Weights of a network, or loadings fitted on the corpus; 0 without."""
    space: str = OWN
    """Whether its dimensions mean the same in every dataset (`COMMON`) or in this one alone."""


def hvg(adata: AnnData, n_top_genes: int) -> np.ndarray:
    """Return log1p(counts per 10,000) of the most variable genes.

    The normalised dispersion of scanpy's `seurat` flavour, over all batches together; the total is that of all genes.

    Parameters
    ----------
    adata
        Raw counts as X, cells × genes; it is left as it is.
    n_top_genes
        Genes kept, in the order of the genes of `adata`; all that are expressed where these are fewer.

    Returns
    -------
    np.ndarray
        Cells × genes kept, float32.
    """
    return np.asarray(highly_variable(adata, n_top_genes).X.toarray(), dtype=np.float32)


def highly_variable(adata: AnnData, n_top_genes: int) -> AnnData:
    """Return what `hvg` does, with the genes' names; X is sparse."""
    import scanpy as sc

    log1p_10k = AnnData(X=adata.X.astype(np.float32), var=adata.var[[]])
    sc.pp.filter_genes(log1p_10k, min_cells=1)
    sc.pp.normalize_total(log1p_10k, target_sum=1e4)
    sc.pp.log1p(log1p_10k)
    dispersion = sc.pp.highly_variable_genes(log1p_10k, flavor="seurat", inplace=False)["dispersions_norm"].to_numpy()
    # A stable sort, so that ties do not decide how many genes are kept; a gene without a dispersion comes last.
    order = np.argsort(-np.nan_to_num(dispersion, nan=-np.inf), kind="stable")
    return log1p_10k[:, np.sort(order[:n_top_genes])]


def pca(adata: AnnData, n_top_genes: int, n_components: int, seed: int) -> np.ndarray:
    """Return the principal components of `hvg`: centred, not scaled to unit variance (scanpy's and scIB's default).

    Parameters
    ----------
    adata
        Raw counts as X, cells × genes.
    n_top_genes
        Highly variable genes that the components are made from.
    n_components
        Components, the largest variance first; one fewer than cells or genes where that is less.
    seed
        Start of the iteration (ARPACK); the result depends on it only by rounding.

    Returns
    -------
    np.ndarray
        Cells × components, float32.

    Raises
    ------
    WcedError
        If there are not two cells that express two genes.
    """
    from sklearn.decomposition import PCA

    x_ng = hvg(adata, n_top_genes)
    n_components = min(n_components, *(size - 1 for size in x_ng.shape))
    if n_components < 1:
        raise WcedError(f"principal components: there are {x_ng.shape[0]} cells and {x_ng.shape[1]} genes")
    return PCA(n_components, svd_solver="arpack", random_state=seed).fit_transform(x_ng).astype(np.float32)


def _hvg(cells: Cells) -> Embedded:
    return Embedded(hvg(cells.adata, cells.settings.n_top_genes), LEAKAGE + cells.few_genes)


def _pca(cells: Cells) -> Embedded:
    components_nk = pca(cells.adata, cells.settings.n_top_genes, cells.settings.n_components, cells.seed)
    return Embedded(components_nk, LEAKAGE + cells.few_genes)


def _harmony(cells: Cells) -> Embedded:
    """Return `pca` corrected for the batch by Harmony (Korsunsky et al. 2019) with harmonypy's settings.

    Cells of a single batch have nothing to correct, and keep their principal components.
    """
    components_nk = _pca(cells).embedding_nd
    if cells.single_batch:
        return Embedded(components_nk, f"{LEAKAGE}; one batch, so the same as pca{cells.few_genes}")
    from harmonypy import run_harmony

    # One core: sums in parallel would make the result depend on the machine.
    fitted = run_harmony(
        components_nk, cells.adata.obs[["batch"]].astype(str), ["batch"], random_state=cells.seed, ncores=1,
        verbose=False,
    )  # fmt: skip
    return Embedded(np.asarray(fitted.Z_corr, np.float32), LEAKAGE_BATCH + cells.few_genes)


def _scvi(cells: Cells) -> Embedded:
    """Return the latent means of scVI (Lopez et al. 2018) trained on these cells' counts of highly variable genes."""
    from wced.embedding.scvi import latent

    settings = cells.settings
    genes = highly_variable(cells.adata, settings.n_top_genes).var_names
    latent_nd, n_params = latent(cells.adata, genes, settings.scvi, cells.seed)
    return Embedded(latent_nd, (LEAKAGE if cells.single_batch else LEAKAGE_BATCH) + cells.few_genes, n_params)


def _corpus_pca(cells: Cells) -> Embedded:
    """Return the cells on the principal components of the pretraining corpus."""
    from wced.embedding.corpus_pca import Components

    if cells.corpus is None:
        raise WcedError("corpus_pca: needs the principal components of the corpus (wced fit-corpus-pca)")
    components = Components.read(cells.corpus)
    return Embedded(components.embed(cells.adata), None, components.n_params, COMMON)


BASELINES: dict[str, Callable[[Cells], Embedded]] = {
    "hvg": _hvg,
    "pca": _pca,
    "harmony": _harmony,
    "scvi": _scvi,
    "corpus_pca": _corpus_pca,
}
"""The baselines by their names."""

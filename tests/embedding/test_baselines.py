from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from wced.config.embedding import Baseline, Embedding
from wced.embedding import baselines
from wced.embedding.baselines import LEAKAGE, LEAKAGE_BATCH, Cells, baseline
from wced.embedding.baselines.hvg import hvg
from wced.embedding.baselines.pca import pca
from wced.errors import WcedError

SETTINGS = Embedding(datasets=[], n_top_genes=60, n_components=6, scvi={"epochs": 2, "latent": 3})


@pytest.fixture
def counts():
    """80 cells of two kinds that differ in genes 0 to 9; 200 genes, of which the last 20 are never seen."""
    rng = np.random.default_rng(0)
    rate = np.tile(rng.uniform(1, 4, 200), (80, 1))
    rate[:, :10] = 0.02
    rate[:40, :5], rate[40:, 5:10] = 6, 6
    rate[:, 180:] = 0
    return AnnData(X=sparse.csr_matrix(rng.poisson(rate).astype(np.float32)))


@pytest.fixture
def batched(counts):
    """The same cells in two batches, of which one has more of every gene of the second half."""
    counts.obs["batch"] = pd.Categorical(["x", "y"] * 40)
    dense = counts.X.toarray()
    dense[1::2, 100:] *= 3
    counts.X = sparse.csr_matrix(dense)
    counts.var_names = [f"ENSG{i:011d}" for i in range(200)]
    return Cells(counts, SETTINGS, seed=1)


def test_every_baseline_of_the_config_is_a_module():
    modules = {path.stem for path in Path(baselines.__file__).parent.glob("*.py")} - {"__init__"}
    assert modules == set(get_args(Baseline)) and all(callable(baseline(name)) for name in modules)


def test_hvg_is_log1p_10k_of_scanpys_choice(counts):
    import scanpy as sc

    before = counts.X.copy()
    x_ng = hvg(counts, 10)
    assert x_ng.shape == (80, 10) and x_ng.dtype == np.float32
    assert (before != counts.X).nnz == 0
    dense = counts.X.toarray()
    log1p_10k = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4)
    theirs = AnnData(X=log1p_10k[:, :180].copy())
    sc.pp.highly_variable_genes(theirs, flavor="seurat", n_top_genes=10)
    np.testing.assert_allclose(x_ng, theirs.X[:, theirs.var["highly_variable"]], rtol=1e-5)


@pytest.mark.parametrize("n", [50, 180])
def test_hvg_gives_exactly_as_many_genes_as_asked(counts, n):
    assert hvg(counts, n).shape == (80, n)


def test_a_panel_with_fewer_genes_than_asked_for_keeps_all_and_says_so(batched):
    batched = replace(batched, settings=SETTINGS.model_copy(update={"n_top_genes": 181, "n_components": 200}))
    embedded = {name: baseline(name)(batched) for name in ("hvg", "pca", "harmony", "scvi")}
    np.testing.assert_array_equal(embedded["hvg"].embedding_nd, hvg(batched.adata, 180))
    assert [embedded[name].embedding_nd.shape for name in ("hvg", "pca")] == [(80, 180), (80, 79)]
    seen = {"hvg": LEAKAGE, "pca": LEAKAGE, "harmony": LEAKAGE_BATCH, "scvi": LEAKAGE_BATCH}
    assert all(embedded[name].leakage == f"{seen[name]}; all 180 expressed genes" for name in seen)


def test_pca_is_that_of_the_centred_unscaled_genes(counts):
    components_nk = pca(counts, 50, 5, seed=0)
    x_ng = hvg(counts, 50).astype(np.float64)
    u_nk, s_k, _ = np.linalg.svd(x_ng - x_ng.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(components_nk), np.abs(u_nk[:, :5] * s_k[:5]), atol=1e-3)
    assert (components_nk == pca(counts, 50, 5, seed=0)).all()


def test_pca_of_fewer_components_than_asked_for(counts):
    np.testing.assert_allclose(pca(counts, 6, 50, seed=0), pca(counts, 6, 5, seed=0))
    with pytest.raises(WcedError, match="principal components: there are 1 cells"):
        pca(counts[:1].copy(), 50, 50, seed=0)


def test_harmony_is_harmonypys_of_the_principal_components(batched):
    from harmonypy import run_harmony

    harmony = baseline("harmony")(batched)
    components = pca(batched.adata, 60, 6, seed=1)
    theirs = run_harmony(components, batched.adata.obs, "batch", random_state=1, ncores=1, verbose=False).Z_corr
    np.testing.assert_allclose(harmony.embedding_nd, theirs, rtol=1e-5, atol=1e-5)
    assert harmony.embedding_nd.dtype == np.float32 and (harmony.leakage, harmony.n_params) == (LEAKAGE_BATCH, 0)

    def apart(x_nd):
        return np.linalg.norm(x_nd[::2].mean(axis=0) - x_nd[1::2].mean(axis=0))

    assert apart(harmony.embedding_nd) < 0.5 * apart(components)


def test_harmony_of_one_batch_is_pca_and_says_so(batched):
    batched.adata.obs["batch"] = "x"
    harmony = baseline("harmony")(batched)
    assert (harmony.embedding_nd == pca(batched.adata, 60, 6, seed=1)).all()
    assert harmony.leakage == f"{LEAKAGE}; one batch, so the same as pca"


def test_scvi_learns_the_same_from_the_same_seed_and_leaves_the_counts(batched):
    before = batched.adata.X.copy()
    one, same, other = (baseline("scvi")(replace(batched, seed=seed)) for seed in (1, 1, 2))
    assert one.embedding_nd.shape == (80, 3) and one.embedding_nd.dtype == np.float32
    assert (one.embedding_nd == same.embedding_nd).all() and (one.embedding_nd != other.embedding_nd).any()
    # of the encoder's first layer alone: 60 genes to 128 units, and no batch, as scvi-tools tells only the decoder
    assert one.n_params > 60 * 128 and one.leakage == LEAKAGE_BATCH
    assert (before != batched.adata.X).nnz == 0 and list(batched.adata.obs) == ["batch"]


def test_corpus_pca_needs_its_components(batched):
    with pytest.raises(WcedError, match="fit-corpus-pca"):
        baseline("corpus_pca")(batched)

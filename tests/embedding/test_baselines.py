from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from wced.config.embedding import Baseline, Embedding
from wced.embedding.baselines import BASELINES, LEAKAGE, LEAKAGE_BATCH, Cells, hvg, pca
from wced.embedding.files import concatenate, read_embedding, write_embedding
from wced.errors import WcedError

FACTS = {"model": "m", "dataset": "d", "n_params": 7, "leakage": "none"}


@pytest.fixture
def counts() -> AnnData:
    """80 cells of two kinds that differ in genes 0 to 9; 200 genes, of which the last 20 are never seen."""
    rng = np.random.default_rng(0)
    rate = np.tile(rng.uniform(1, 4, 200), (80, 1))
    rate[:, :10] = 0.02
    rate[:40, :5], rate[40:, 5:10] = 6, 6
    rate[:, 180:] = 0
    return AnnData(X=sparse.csr_matrix(rng.poisson(rate).astype(np.float32)))


@pytest.fixture
def obs() -> pd.DataFrame:
    return pd.DataFrame({"batch": pd.Categorical(["x", "y", "x"])}, index=["c2", "c0", "c1"])


def test_hvg_is_log1p_10k_of_scanpys_choice(counts):
    import scanpy as sc

    before = counts.X.copy()
    found = hvg(counts, 10)
    assert found.shape == (80, 10) and found.dtype == np.float32
    assert (before != counts.X).nnz == 0
    dense = counts.X.toarray()
    log1p_10k = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4)
    theirs = AnnData(X=log1p_10k[:, :180].copy())
    sc.pp.highly_variable_genes(theirs, flavor="seurat", n_top_genes=10)
    np.testing.assert_allclose(found, theirs.X[:, theirs.var["highly_variable"]], rtol=1e-5)


@pytest.mark.parametrize("n", [50, 180])
def test_hvg_gives_exactly_as_many_genes_as_asked(counts, n):
    assert hvg(counts, n).shape == (80, n)


def test_of_fewer_genes_than_asked_for_all_are_taken_and_it_is_said(batched):
    """As of a targeted panel."""
    batched = replace(batched, settings=SETTINGS.model_copy(update={"n_top_genes": 181, "n_components": 200}))
    few = "; all 180 expressed genes"
    found = BASELINES["hvg"](batched)
    assert found.embedding_nd.shape == (80, 180) and found.leakage == LEAKAGE + few
    np.testing.assert_array_equal(found.embedding_nd, hvg(batched.adata, 180))
    components = BASELINES["pca"](batched)
    assert components.embedding_nd.shape == (80, 79) and components.leakage == LEAKAGE + few
    assert BASELINES["harmony"](batched).leakage == LEAKAGE_BATCH + few
    assert BASELINES["scvi"](batched).leakage == LEAKAGE_BATCH + few


def test_pca_is_that_of_the_centred_unscaled_genes(counts):
    found = pca(counts, 50, 5, seed=0)
    x_ng = hvg(counts, 50).astype(np.float64)
    u_nk, s_k, _ = np.linalg.svd(x_ng - x_ng.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(u_nk[:, :5] * s_k[:5]), atol=1e-3)
    assert (found == pca(counts, 50, 5, seed=0)).all()


def test_pca_of_fewer_components_than_asked_for(counts):
    np.testing.assert_allclose(pca(counts, 6, 50, seed=0), pca(counts, 6, 5, seed=0))
    with pytest.raises(WcedError, match="principal components: there are 1 cells"):
        pca(counts[:1].copy(), 50, 50, seed=0)


SETTINGS = Embedding(datasets=[], n_top_genes=60, n_components=6, scvi={"epochs": 2, "latent": 3})


@pytest.fixture
def batched(counts) -> Cells:
    """The same cells in two batches, of which one has more of every gene of the second half."""
    counts.obs["batch"] = pd.Categorical(["x", "y"] * 40)
    dense = counts.X.toarray()
    dense[1::2, 100:] *= 3
    counts.X = sparse.csr_matrix(dense)
    counts.var_names = [f"ENSG{i:011d}" for i in range(200)]
    return Cells(counts, SETTINGS, seed=1)


def test_every_baseline_of_the_config_has_a_function():
    assert tuple(BASELINES) == get_args(Baseline)


def test_harmony_is_harmonypys_of_the_principal_components(batched):
    from harmonypy import run_harmony

    found = BASELINES["harmony"](batched)
    components = pca(batched.adata, 60, 6, seed=1)
    theirs = run_harmony(components, batched.adata.obs, "batch", random_state=1, ncores=1, verbose=False).Z_corr
    np.testing.assert_allclose(found.embedding_nd, theirs, rtol=1e-5, atol=1e-5)
    assert found.embedding_nd.dtype == np.float32 and (found.leakage, found.n_params) == (LEAKAGE_BATCH, 0)

    def apart(x_nd):
        return np.linalg.norm(x_nd[::2].mean(axis=0) - x_nd[1::2].mean(axis=0))

    assert apart(found.embedding_nd) < 0.5 * apart(components)


def test_harmony_of_one_batch_is_pca_and_says_so(batched):
    batched.adata.obs["batch"] = "x"
    found = BASELINES["harmony"](batched)
    assert (found.embedding_nd == pca(batched.adata, 60, 6, seed=1)).all()
    assert found.leakage == f"{LEAKAGE}; one batch, so the same as pca"


def test_scvi_learns_the_same_from_the_same_seed_and_leaves_the_counts(batched):
    before = batched.adata.X.copy()
    found, again = (BASELINES["scvi"](batched) for _ in range(2))
    other = BASELINES["scvi"](Cells(batched.adata, SETTINGS, seed=2))
    assert found.embedding_nd.shape == (80, 3) and found.embedding_nd.dtype == np.float32
    assert (found.embedding_nd == again.embedding_nd).all() and (found.embedding_nd != other.embedding_nd).any()
    # of the encoder's first layer alone: 60 genes to 128 units, and no batch, as scvi-tools tells only the decoder
    assert found.n_params > 60 * 128 and found.leakage == LEAKAGE_BATCH
    assert (before != batched.adata.X).nnz == 0 and list(batched.adata.obs) == ["batch"]


def test_corpus_pca_needs_its_components(batched):
    with pytest.raises(WcedError, match="fit-corpus-pca"):
        BASELINES["corpus_pca"](batched)


def test_written_and_read_again(tmp_path, obs):
    path = tmp_path / "e.h5ad"
    embedding_nd = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_embedding(path, embedding_nd, obs, **FACTS)
    read = read_embedding(path)
    assert (embedding_nd == read.X).all() and read.X.dtype == np.float32
    assert read.uns["wced"] == {**FACTS, "width": 2, "pooling": "none", "source": "here", "space": "common"}
    pd.testing.assert_frame_equal(read.obs, obs)


def test_the_same_embedding_is_the_same_file(tmp_path, obs):
    for name in ("a", "b"):
        write_embedding(tmp_path / name / "e.h5ad", np.ones((3, 2)), obs, **FACTS)
    assert (tmp_path / "a" / "e.h5ad").read_bytes() == (tmp_path / "b" / "e.h5ad").read_bytes()


def test_values_that_are_not_finite_are_refused(tmp_path, obs):
    bad = np.ones((3, 2))
    bad[1, 1] = np.nan
    with pytest.raises(WcedError, match="1 cells is not finite"):
        write_embedding(tmp_path / "e.h5ad", bad, obs, **FACTS)
    assert not (tmp_path / "e.h5ad").exists()


def test_a_shape_that_does_not_fit_is_refused(tmp_path, obs):
    with pytest.raises(WcedError, match="3 cells"):
        write_embedding(tmp_path / "e.h5ad", np.ones((2, 2)), obs, **FACTS)


def test_a_file_that_is_no_embedding_is_refused(tmp_path, obs):
    AnnData(X=np.ones((3, 2), dtype=np.float32), obs=obs).write_h5ad(tmp_path / "e.h5ad")
    with pytest.raises(WcedError, match="no model"):
        read_embedding(tmp_path / "e.h5ad")
    with pytest.raises(WcedError, match="no such file"):
        read_embedding(tmp_path / "none.h5ad")


def test_a_space_that_is_none_is_refused(tmp_path, obs):
    write_embedding(tmp_path / "e.h5ad", np.ones((3, 2)), obs, **FACTS, space="outer")
    with pytest.raises(WcedError, match="says space outer, which is neither common nor dataset"):
        read_embedding(tmp_path / "e.h5ad")


def test_concatenation_stands_side_by_side_and_adds_up(tmp_path, obs):
    write_embedding(tmp_path / "a.h5ad", np.zeros((3, 2)), obs, **FACTS)
    fitted = {"genes": 3, "gene_names": "var_names"}
    write_embedding(
        tmp_path / "b.h5ad", np.ones((3, 1)), obs, **{**FACTS, "leakage": LEAKAGE}, pooling="cls+mean", input=fitted
    )
    assert read_embedding(tmp_path / "b.h5ad").uns["wced"]["input"] == fitted
    concatenate(tmp_path / "c.h5ad", [tmp_path / "a.h5ad", tmp_path / "b.h5ad"], model="both")
    both = read_embedding(tmp_path / "c.h5ad")
    assert both.X.tolist() == [[0, 0, 1]] * 3
    assert both.uns["wced"] == {
        "model": "both", "dataset": "d", "n_params": 14, "width": 3, "leakage": LEAKAGE, "pooling": "none+cls+mean",
        "source": "here", "space": "common",
    }  # fmt: skip
    pd.testing.assert_frame_equal(both.obs, obs)


@pytest.mark.parametrize(
    ("order", "dataset", "message"),
    [
        pytest.param([1, 0, 2], "d", "its cells are not those", id="other order"),
        pytest.param([0, 1, 2], "other", "its dataset is not that", id="other dataset"),
    ],
)
def test_concatenation_refuses_other_cells(tmp_path, obs, order, dataset, message):
    write_embedding(tmp_path / "a.h5ad", np.zeros((3, 2)), obs, **FACTS)
    write_embedding(tmp_path / "b.h5ad", np.ones((3, 1)), obs.iloc[order], **{**FACTS, "dataset": dataset})
    with pytest.raises(WcedError, match=message):
        concatenate(tmp_path / "c.h5ad", [tmp_path / "a.h5ad", tmp_path / "b.h5ad"], model="both")

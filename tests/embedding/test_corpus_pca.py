import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from wced.embedding.baselines.corpus_pca import Components, fit
from wced.errors import WcedError
from wced.shards.reader import ShardSet

K = 4


@pytest.fixture(scope="module")
def corpus(made):
    return ShardSet(made.shards)


@pytest.fixture(scope="module")
def components(corpus):
    return fit(corpus, K, 10**6, seed=0)


def dense(corpus, places):
    """Return log1p_10k of cells and which genes their datasets measured, both float64 and dense."""
    cells = corpus.take(places)
    counts = np.zeros((len(places), len(corpus.vocabulary)))
    counts[np.repeat(np.arange(len(places)), np.diff(cells.offsets)), cells.gene] = cells.count
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4), corpus.measured_dv[cells.dataset]


def test_components_are_those_of_a_dense_float64_svd(corpus, components):
    x_nv, measured_nv = dense(corpus, corpus.places("train"))
    assert not measured_nv.all()
    mean_v = (x_nv * measured_nv).sum(axis=0) / measured_nv.sum(axis=0)
    _, _, right_kv = np.linalg.svd((x_nv - mean_v) * measured_nv, full_matrices=False)
    np.testing.assert_allclose(components.mean_v, mean_v, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.abs(components.loading_vk), np.abs(right_kv[:K].T), atol=2e-4)
    assert (components.loading_vk[np.abs(components.loading_vk).argmax(axis=0), range(K)] > 0).all()
    assert components.n_params == len(mean_v) * (K + 1)


def test_cells_are_projected_and_missing_genes_count_as_their_mean(made, corpus, components):
    held = ad.read_h5ad(made.held_out)
    rng = np.random.default_rng(0)
    held = held[:, rng.permutation(held.n_vars)[: held.n_vars * 3 // 4]].copy()
    id_g = corpus.vocabulary.ids_of(held.var_names)
    counts = np.zeros((held.n_obs, len(corpus.vocabulary)))
    counts[:, id_g[id_g >= 0]] = held.X.toarray()[:, id_g >= 0]
    x_nv = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    there_v = np.isin(np.arange(counts.shape[1]), id_g)
    expected = np.where(there_v, x_nv - components.mean_v, 0) @ components.loading_vk.astype(np.float64)
    assert not there_v.all()
    embedding_nk = components.embed(held)
    np.testing.assert_allclose(embedding_nk, expected, rtol=1e-4, atol=1e-3)
    assert embedding_nk.dtype == np.float32


def test_only_some_training_cells_are_read(corpus):
    few, again, others = (fit(corpus, K, 60, seed) for seed in (0, 0, 1))
    assert (few.mean_v == again.mean_v).all() and (few.loading_vk == again.loading_vk).all()
    assert (few.mean_v != others.mean_v).any()


def test_written_and_read_again(components, tmp_path):
    for name in ("a.npz", "b.npz"):
        components.write(tmp_path / name)
    read = Components.read(tmp_path / "a.npz")
    assert read.vocabulary == components.vocabulary
    assert (read.mean_v == components.mean_v).all() and (read.loading_vk == components.loading_vk).all()
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"some text"], ids=["empty", "half", "text"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(WcedError, match=r"c\.npz: no principal components"):
        Components.read(tmp_path / "c.npz")


def test_another_format_version_is_refused(components, tmp_path, monkeypatch):
    components.write(tmp_path / "c.npz")
    monkeypatch.setattr("wced.embedding.baselines.corpus_pca.FORMAT_VERSION", 99)
    with pytest.raises(WcedError, match="this program reads 99"):
        Components.read(tmp_path / "c.npz")


def test_too_many_components_are_refused(corpus):
    with pytest.raises(WcedError, match="60 principal components asked for, but the corpus has 60 training cells"):
        fit(corpus, 60, 60, seed=0)


def test_cells_without_a_gene_of_the_vocabulary_are_refused(components):
    cells = ad.AnnData(sparse.csr_matrix(np.ones((2, 3), np.float32)))
    with pytest.raises(WcedError, match="none of the 3 genes is in the vocabulary"):
        components.embed(cells)

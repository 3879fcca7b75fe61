import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from wced.config.corpus import Census
from wced.corpus.build import build_census
from wced.corpus.census import open_census
from wced.errors import WcedError

SECTION = Census(datasets=["blood_symbols"])


def test_building_replaces_what_was_there(sources, tmp_path):
    path = tmp_path / "census"
    path.mkdir()
    (path / "leftover").write_text("")
    build_census(sources[:1], path)
    assert not (path / "leftover").exists()
    with open_census(SECTION, path) as census:
        assert census["census_data"]["homo_sapiens"].obs.count == ad.read_h5ad(sources[0]).n_obs


def test_unsorted_genes_and_blocks_of_cells(sources, tmp_path, monkeypatch):
    monkeypatch.setattr("wced.corpus.build.WRITE_CELLS", 50)
    adata = ad.read_h5ad(sources[0])
    shuffled = adata[:, np.random.default_rng(0).permutation(adata.n_vars)].copy()
    x_ng = shuffled.X.tocsr()  # whose counts are written in two entries each
    value = np.column_stack([np.ones_like(x_ng.data), x_ng.data - 1]).ravel()
    shuffled.X = sparse.csr_matrix((value, np.repeat(x_ng.indices, 2), 2 * x_ng.indptr), x_ng.shape)
    shuffled.write_h5ad(tmp_path / "x.h5ad")
    build_census([tmp_path / "x.h5ad"], tmp_path / "census")
    with open_census(SECTION, tmp_path / "census") as census:
        x = census["census_data"]["homo_sapiens"].ms["RNA"].X["raw"].read().coos().concat().to_scipy()
    assert (sparse.csr_matrix(x) != adata.X).nnz == 0 and x.nnz == adata.X.nnz


def test_what_is_refused(sources, tmp_path):
    with pytest.raises(WcedError, match="dataset blood_symbols is already in the collection"):
        build_census([sources[0], sources[0]], tmp_path / "twice")
    foreign = ad.read_h5ad(sources[0])
    del foreign.obs["donor_id"]
    foreign.write_h5ad(tmp_path / "foreign.h5ad")
    with pytest.raises(WcedError, match=r"foreign\.h5ad: obs has no column donor_id"):
        build_census([tmp_path / "foreign.h5ad"], tmp_path / "none")
    assert not (tmp_path / "twice").exists() and not (tmp_path / "none").exists()

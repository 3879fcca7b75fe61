import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from wced.config.corpus import Cells, Census
from wced.corpus.build import build_census
from wced.corpus.cells import read_cells, read_cells_of, select, write_cells
from wced.corpus.census import open_census
from wced.errors import WcedError
from wced.shards.vocabulary import label_values, make_labels, number_values

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


def with_columns(source, path, **columns):
    adata = ad.read_h5ad(source)
    for name, values in columns.items():
        adata.obs[name] = pd.Series(values, adata.obs_names) if np.ndim(values) == 0 else np.resize(values, adata.n_obs)
    adata.write_h5ad(path)
    return path


def test_columns_beside_those_of_the_schema_reach_the_shards(sources, tmp_path):
    """A column that a dataset lacks, or says nothing in, is unknown or NaN there."""
    columns = {"dose": [0.5, 1.0], "days": [3, 7], "drug": ["a", "none"], "age": "unknown", "mt_fraction": np.nan}
    one = with_columns(sources[0], tmp_path / "one.h5ad", **columns)
    columns = {"dose": "unknown", "plate": ["p", "q"], "age": [30, 31], "mt_fraction": np.nan}
    two = with_columns(sources[1], tmp_path / "two.h5ad", **columns)
    build_census([one, two], tmp_path / "census")
    keep = ["dose", "days", "drug", "plate", "age", "mt_fraction"]
    with open_census(SECTION, tmp_path / "census") as census:
        obs = read_cells_of(census, SECTION, Cells(), keep)
    n = ad.read_h5ad(one).n_obs
    first, second = obs.iloc[:n], obs.iloc[n:]
    assert set(first["dose"]) == {0.5, 1.0} and second["dose"].isna().all()
    assert set(first["days"]) == {3, 7} and second["days"].isna().all()
    assert set(first["drug"]) == {"a", "none"} and set(second["drug"]) == {"unknown"}
    assert set(first["plate"]) == {"unknown"} and set(second["plate"]) == {"p", "q"}
    assert obs["mt_fraction"].isna().all()
    assert first["age"].isna().all() and set(second["age"]) == {30, 31}
    write_cells(obs, select(obs, Cells(), 0), tmp_path / "cells.parquet", keep)
    cells = read_cells(tmp_path / "cells.parquet")
    labels = make_labels(cells, ["drug", "plate"], ["dose", "days", "age"])
    assert labels.classes == {"drug": ("a", "none"), "plate": ("p", "q")}
    assert np.isnan(number_values(cells, "age")).sum() == (label_values(cells, "plate") == "unknown").sum() > 0


def test_columns_of_text_and_of_numbers_do_not_go_together(sources, tmp_path):
    one = with_columns(sources[0], tmp_path / "one.h5ad", dose=[0.5, 1.0])
    two = with_columns(sources[1], tmp_path / "two.h5ad", dose=["low", "high"])
    with pytest.raises(WcedError, match=r"two\.h5ad: obs has text in the column dose, where .*one\.h5ad has numbers; "):
        build_census([one, two], tmp_path / "census")
    assert not (tmp_path / "census").exists()

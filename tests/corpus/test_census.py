import anndata as ad
import cellxgene_census
import numpy as np
import pandas as pd
import pytest
import tiledbsoma as soma

from wced.config.corpus import Census
from wced.corpus.census import measured_genes, open_census
from wced.errors import WcedError

SECTION = Census(datasets=["blood_symbols", "spleen_ensembl", "lung_smartseq"])


@pytest.fixture(scope="module")
def published(sources):
    return [ad.read_h5ad(path) for path in sources]


def obs(census, **options):
    return census["census_data"]["homo_sapiens"].obs.read(**options).concat().to_pandas()


def test_opens_as_the_census_does(collection):
    with open_census(Census(uri=str(collection))) as census:
        assert census["census_data"]["homo_sapiens"].obs.count == 553
    with cellxgene_census.open_soma(uri=str(collection)) as census:
        assert set(census) == {"census_info", "census_data"}
        assert set(census["census_data"]["homo_sapiens"].ms["RNA"]) == {"var", "X", "feature_dataset_presence_matrix"}


def test_obs_is_that_of_the_sources_one_after_the_other(census, published):
    frame = obs(census)
    ends = np.cumsum([0, *(adata.n_obs for adata in published)])
    assert frame["soma_joinid"].tolist() == list(range(ends[-1]))
    assert frame["dataset_id"].astype(str).drop_duplicates().tolist() == SECTION.datasets
    for adata, start, end in zip(published, ends[:-1], ends[1:], strict=True):
        for column in adata.obs.columns:
            values, expected = frame[column][start:end], adata.obs[column].to_numpy()
            if isinstance(values.dtype, pd.CategoricalDtype):
                assert values.astype(str).tolist() == [str(value) for value in expected]
            else:
                np.testing.assert_array_equal(values.to_numpy(), expected)


@pytest.mark.parametrize("i", [0, 1, 2], ids=SECTION.datasets)
def test_counts_come_back(census, published, i):
    adata = published[i]
    name = adata.obs["dataset_id"].iloc[0]
    back = cellxgene_census.get_anndata(census, "Homo sapiens", obs_value_filter=f"dataset_id == '{name}'")
    back.var_names = back.var["feature_id"]
    assert (back[:, adata.var_names].X != adata.X).nnz == 0
    assert back.X.sum() == adata.X.sum()


@pytest.mark.parametrize(
    "condition",
    [
        "cell_type == 'B cell'",
        "tissue_general == 'lung' and cell_type_ontology_term_id in ['CL:0000236', 'CL:0000576']",
        "donor_id == 'd1' and is_primary_data == True",
        "nnz > 200",
    ],
    ids=["label", "two columns", "flag", "number"],
)
def test_value_filters_match_what_pandas_matches(census, condition):
    expected = obs(census)
    for column in expected.select_dtypes("category").columns:
        expected[column] = expected[column].astype(str)
    expected = expected.query(condition)
    assert 0 < len(expected) < 553
    assert obs(census, value_filter=condition)["soma_joinid"].tolist() == expected["soma_joinid"].tolist()


def test_var_counts_cells(census, published):
    var = census["census_data"]["homo_sapiens"].ms["RNA"].var.read().concat().to_pandas()
    assert var["feature_id"].is_monotonic_increasing
    assert set(var["feature_id"]) == set().union(*(adata.var_names for adata in published))
    for column, of_genes in (
        ("nnz", lambda adata: np.asarray((adata.X > 0).sum(axis=0)).ravel()),
        ("n_measured_obs", lambda adata: np.full(adata.n_vars, adata.n_obs)),
    ):
        expected = sum(
            np.bincount(var["feature_id"].searchsorted(adata.var_names), of_genes(adata), len(var))
            for adata in published
        )
        np.testing.assert_array_equal(var[column], expected)


def test_presence_matrix_says_what_was_measured(census, published):
    matrix = cellxgene_census.get_presence_matrix(census, "Homo sapiens")
    assert matrix.shape[0] == len(published)
    feature_ids, measured_dg = measured_genes(census, "homo_sapiens", ["lung_smartseq", "blood_symbols"])
    np.testing.assert_array_equal(matrix[[2, 0]].toarray().astype(bool), measured_dg)
    for row, adata in zip(measured_dg, (published[2], published[0]), strict=True):
        assert set(feature_ids[row]) == set(adata.var_names)
    with pytest.raises(WcedError, match="no dataset nowhere"):
        measured_genes(census, "homo_sapiens", ["nowhere"])


def test_info_tables(census, published):
    datasets = census["census_info"]["datasets"].read().concat().to_pandas()
    assert datasets["dataset_id"].tolist() == SECTION.datasets
    assert datasets["dataset_total_cell_count"].tolist() == [adata.n_obs for adata in published]
    assert datasets["dataset_title"].tolist() == [adata.uns["title"] for adata in published]
    summary = census["census_info"]["summary"].read().concat().to_pandas().set_index("label")["value"]
    assert summary["total_cell_count"] == str(sum(adata.n_obs for adata in published))
    assert summary["unique_cell_count"] == str(sum(int(adata.obs["is_primary_data"].sum()) for adata in published))


def test_what_is_refused(collection, tmp_path):
    with pytest.raises(WcedError, match="no such file"):
        open_census(SECTION, tmp_path / "nowhere")
    with pytest.raises(WcedError, match="cannot be opened as a Census"):
        open_census(Census(uri=str(tmp_path)))
    with pytest.raises(WcedError, match="has no census_data/mus_musculus"):
        open_census(Census(uri=str(collection), organism="mus_musculus"))


def test_opening_a_remote_collection_is_tried_again_with_a_context_of_its_own(collection, monkeypatch):
    settings, opened = [], cellxgene_census.open_soma

    def open_soma(*, uri, tiledb_config):
        settings.append(tiledb_config)
        if len(settings) < 3:
            raise soma.SOMAError("S3: no answer")
        return opened(uri=str(collection), tiledb_config=tiledb_config)

    monkeypatch.setattr("cellxgene_census.open_soma", open_soma)
    endpoint = {"vfs.s3.endpoint_override": "127.0.0.1:1", "vfs.s3.connect_max_tries": "3"}
    section = Census(uri="s3://bucket/census", tiledb=endpoint, attempts=3, retry_wait_seconds=0)
    with open_census(section) as census:
        assert census.context.tiledb_config["vfs.s3.endpoint_override"] == "127.0.0.1:1"
        assert census.context.tiledb_config["sm.mem.total_budget"] == str(2 * 2**30)
    assert len(settings) == 3 and settings[0]["vfs.s3.connect_max_tries"] == "3"
    settings.clear()
    with pytest.raises(
        WcedError, match=r"^s3://bucket/census: cannot be opened .*: S3: no answer \(after 2 attempts\)$"
    ):
        open_census(section.model_copy(update={"attempts": 2}))


def test_what_a_dataset_measured_is_read_again_after_a_fault(census, monkeypatch):
    expected, calls, read = measured_genes(census, "homo_sapiens", ["blood_symbols"]), [], soma.DataFrame.read

    def failing(self, **options):
        calls.append(self.uri)
        if len(calls) == 2:
            raise soma.SOMAError("S3: no answer")
        return read(self, **options)

    monkeypatch.setattr(soma.DataFrame, "read", failing)
    section = Census(attempts=2, retry_wait_seconds=0)
    again = measured_genes(census, "homo_sapiens", ["blood_symbols"], section)
    assert len(calls) >= 4
    for one, other in zip(again, expected, strict=True):
        np.testing.assert_array_equal(one, other)

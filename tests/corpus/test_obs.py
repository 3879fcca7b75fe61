import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tiledbsoma as soma

from wced.config.corpus import Census
from wced.corpus import obs as module
from wced.corpus.obs import read_obs
from wced.errors import WcedError

SECTION = Census(datasets=["blood_symbols", "spleen_ensembl", "lung_smartseq"])
COLUMNS = ["soma_joinid", "dataset_id", "cell_type", "raw_sum", "nnz", "is_primary_data", "mt_fraction"]


def narrowed(**selections):
    return SECTION.model_copy(update=selections)


def test_it_is_what_obs_holds_in_few_bytes(census):
    frame = read_obs(census, SECTION, COLUMNS)
    whole = census["census_data"]["homo_sapiens"].obs.read(column_names=COLUMNS).concat().to_pandas()
    assert list(frame.columns) == COLUMNS
    for name in COLUMNS:
        expected = whole[name].astype(str) if name in ("dataset_id", "cell_type") else whole[name]
        np.testing.assert_array_equal(frame[name].astype(expected.dtype), expected.astype(frame[name].dtype))
    assert frame.dtypes[["raw_sum", "nnz", "mt_fraction"]].tolist() == [np.float64, np.int32, np.float32]
    for name in ("dataset_id", "cell_type"):
        categories = frame[name].cat.categories
        assert frame[name].array.codes.dtype == np.int8
        assert categories.is_monotonic_increasing and set(categories) == set(frame[name])


@pytest.mark.parametrize("cells", [40, 552, 553], ids=str)
def test_ranges_change_nothing(census, monkeypatch, cells):
    columns, section = COLUMNS[:3], narrowed(obs_value_filter="raw_sum > 1200")
    whole = read_obs(census, section, columns)
    assert 0 < len(whole) < 553
    monkeypatch.setattr(module, "RANGE_CELLS", cells)
    pd.testing.assert_frame_equal(read_obs(census, section, columns), whole)


@pytest.mark.parametrize(
    ("selections", "column", "expected"),
    [
        ({"tissues": ["lung"]}, "tissue_general", {"lung"}),
        ({"tissues": ["UBERON:0002048", "blood"]}, "tissue_general", {"lung", "blood"}),
        ({"assays": ["Smart-seq2"]}, "dataset_id", {"lung_smartseq"}),
        ({"assays": ["EFO:0009899"], "tissues": ["spleen"]}, "dataset_id", {"spleen_ensembl"}),
        ({"diseases": ["normal"], "obs_value_filter": "tissue == 'lung' or nnz < 0"}, "tissue_general", {"lung"}),
    ],
    ids=["name", "id or name", "assay", "both", "with a filter of or"],
)
def test_selections(census, selections, column, expected):
    assert set(read_obs(census, narrowed(**selections), ["soma_joinid", column])[column]) == expected


REFUSED = {
    "tissue": ({"tissues": ["lungs"]}, r"census\.tissues: 'lungs' is not among the tissue_general .* are 'lung'"),
    "assay": ({"assays": ["smart-seq2"]}, r"census\.assays: 'smart-seq2' .*; nearest are 'Smart-seq2'"),
    "disease": ({"diseases": ["MONDO:1"]}, r"census\.diseases: 'MONDO:1' .*; nearest are "),
    "no match": ({"obs_value_filter": "tissue_general == 'moon'"}, "no cell of the collection matches .*moon"),
    "no match together": ({"tissues": ["lung"], "assays": ["10x 3' v2"]}, "no cell of the collection matches .* and "),
    "no column": ({"obs_value_filter": "nothing == 'x'"}, r"census\.obs_value_filter \"nothing == 'x'\" fails"),
    "no syntax": ({"obs_value_filter": "tissue = ="}, r"census\.obs_value_filter 'tissue = =' fails"),
    "one =": ({"obs_value_filter": "tissue = 'lung'"}, r"census\.obs_value_filter \"tissue = 'lung'\" fails"),
    "no comparison": ({"obs_value_filter": "is_primary_data"}, r"census\.obs_value_filter 'is_primary_data' fails"),
    "other kind": ({"obs_value_filter": "raw_sum > 'x'"}, r"census\.obs_value_filter .* fails"),
}


@pytest.mark.parametrize(("selections", "message"), REFUSED.values(), ids=REFUSED)
def test_what_selects_nothing_is_refused(census, selections, message):
    with pytest.raises(WcedError, match=message) as refusal:
        read_obs(census, narrowed(**selections), COLUMNS)
    assert "\n" not in str(refusal.value)


def test_missing_column_is_named(census):
    with pytest.raises(WcedError, match="the collection's obs has no column colour"):
        read_obs(census, SECTION, [*COLUMNS, "colour"])


def write_obs(folder, schema, last, *parts):
    """Make a collection that has nothing but obs."""
    with soma.Collection.create(str(folder)) as root:
        organism = root.add_new_collection("census_data").add_new_collection("homo_sapiens", soma.Experiment)
        organism.add_new_dataframe("obs", schema=schema, domain=[(0, last)])
    for part in parts:
        with soma.open(str(folder / "census_data" / "homo_sapiens" / "obs"), "w") as frame:
            frame.write(part)
    return folder


@pytest.fixture
def scattered(tmp_path):
    """A collection whose obs has plain and missing text, dictionaries that grow, and gaps between soma_joinids."""
    text = pa.large_string()
    kinds = {"soma_joinid": pa.int64(), "plain": text, "coded": pa.dictionary(pa.int32(), text), "number": pa.int64()}
    schema, parts = pa.schema({**kinds, "flag": pa.bool_()}), []
    for joinids, values in (([2, 5, 90], [None, "b", "a"]), ([91, 500, 7000], ["na", "z", "b"])):
        columns = {
            "soma_joinid": joinids,
            "plain": pa.array(values, text),
            "coded": pa.array(values).dictionary_encode(),
            "number": pa.array([value and joinid for value, joinid in zip(values, joinids, strict=True)], pa.int64()),
            "flag": pa.array([value and value == "b" for value in values]),
        }
        parts.append(pa.table(columns).cast(schema))
    return write_obs(tmp_path / "census", schema, 10**9, *parts)


@pytest.mark.parametrize("cells", [88, 1000, 10**6], ids=str)
def test_missing_text_is_unknown_and_gaps_are_no_harm(scattered, monkeypatch, cells):
    monkeypatch.setattr(module, "RANGE_CELLS", cells)
    with soma.open(str(scattered)) as census:
        frame = read_obs(census, Census(uri="x"), ["soma_joinid", "plain", "coded"])
    assert frame["soma_joinid"].tolist() == [2, 5, 90, 91, 500, 7000]
    for name in ("plain", "coded"):
        assert frame[name].tolist() == ["unknown", "b", "a", "unknown", "z", "b"]
        assert frame[name].cat.categories.tolist() == ["a", "b", "unknown", "z"]


@pytest.mark.parametrize(
    ("wanted", "cells"), [(["MONDO:1"], [0, 1]), (["MONDO:2", "PATO:3"], [1, 2]), (["MONDO:1 || MONDO:2"], [1])]
)
def test_a_cell_of_several_diseases_has_each(tmp_path, wanted, cells):
    ids = ["MONDO:1", "MONDO:1 || MONDO:2", "PATO:3", None]
    table = pa.table({"soma_joinid": range(4), "disease_ontology_term_id": ids, "disease": ids})
    write_obs(tmp_path / "census", table.schema, 3, table)
    with soma.open(str(tmp_path / "census")) as census:
        frame = read_obs(census, Census(uri="x", diseases=wanted), ["soma_joinid"])
    assert frame["soma_joinid"].tolist() == cells


def test_missing_numbers_stay_missing(scattered):
    with soma.open(str(scattered)) as census:
        frame = read_obs(census, Census(uri="x"), ["soma_joinid", "number", "flag"])
    np.testing.assert_array_equal(frame["number"], [np.nan, 5, 90, 91, 500, 7000])
    np.testing.assert_array_equal(frame["flag"], [np.nan, 1, 0, 0, 0, 1])


def test_faults_are_tried_again(census, monkeypatch):
    section = narrowed(attempts=3, retry_wait_seconds=0.0)
    expected = read_obs(census, section, COLUMNS)
    original, calls = soma.DataFrame.read, []

    def faulty(self, *args, **kwargs):
        calls.append(1)
        if len(calls) % 2:
            raise soma.SOMAError("S3: connection reset")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(soma.DataFrame, "read", faulty)
    monkeypatch.setattr(module, "RANGE_CELLS", 200)
    pd.testing.assert_frame_equal(read_obs(census, section, COLUMNS), expected)
    monkeypatch.setattr(soma.DataFrame, "read", lambda *a, **k: (_ for _ in ()).throw(soma.SOMAError("S3: gone")))
    with pytest.raises(WcedError, match=r"obs of soma_joinids 0 to 199: S3: gone \(after 3 attempts\)"):
        read_obs(census, section, COLUMNS)

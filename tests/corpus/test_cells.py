import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiledbsoma as soma

from wced import tables
from wced.config.corpus import Cells, Census
from wced.corpus.cells import COLUMNS, REMOVED, read_cells, read_obs, select, select_cells, summarise, write_cells
from wced.corpus.census import open_census
from wced.errors import WcedError

SECTION = Census(datasets=["blood_symbols", "spleen_ensembl", "lung_smartseq"])
RULES = {"min_counts": 100, "min_genes": 20, "max_mt_fraction": 0.3}


@pytest.fixture(scope="module")
def census(collection):
    with open_census(SECTION, collection) as handle:
        yield handle


@pytest.fixture(scope="module")
def obs(census):
    return read_obs(census, SECTION, 0.3)


def cells(**sections):
    return Cells.model_validate(sections)


def made(n=1000, **columns):
    """Make obs of n flawless cells of five datasets, changed by columns."""
    flawless = {"soma_joinid": np.arange(n) * 3, "dataset_id": [f"d{i % 5}" for i in range(n)]}
    flawless |= {"raw_sum": 1000.0, "nnz": 500, "is_primary_data": True, "mt_fraction": 0.01}
    frame = pd.DataFrame({name: ["x"] * n for name in COLUMNS}).assign(**(flawless | columns))
    return frame.astype({"dataset_id": "category"})


def test_obs_is_sorted_and_small(obs):
    assert obs["soma_joinid"].is_monotonic_increasing
    assert set(obs.columns) == {*COLUMNS, "is_primary_data", "mt_fraction"}
    assert isinstance(obs["cell_type"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize(
    ("rules", "removed"),
    [
        ({}, {"not_primary": 4}),
        ({"primary_only": False}, {}),
        ({"min_counts": 100}, {"not_primary": 4, "low_counts": 3}),
        ({"min_genes": 51}, {"not_primary": 4, "low_genes": 3}),
        ({"max_mt_fraction": 0.6}, {"not_primary": 4, "high_mt": 2}),
        ({"min_counts": 100, "min_genes": 51}, {"not_primary": 4, "low_counts": 3}),
        ({"max_mt_fraction": 0.6, **{"min_counts": 100}}, {"not_primary": 4, "low_counts": 3, "high_mt": 2}),
    ],
    ids=["primary", "none", "counts", "genes", "mt", "first rule takes the blame", "all"],
)
def test_rules_and_their_counts(obs, rules, removed):
    selected = select(obs, cells(filter=rules), 0)
    fates = selected["fate"].value_counts()
    assert {reason: n for reason, n in fates.items() if reason in REMOVED} == removed
    assert fates.sum() == len(obs)


def test_unmeasured_mitochondria_do_not_condemn():
    obs = made(mt_fraction=np.nan)
    assert (select(obs, cells(filter={"max_mt_fraction": 0.0}), 0)["fate"] != "high_mt").all()


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.013])
def test_fraction_is_met(fraction):
    fate = select(made(), cells(downsample={"fraction": fraction}), 0)["fate"]
    assert (fate != "not_sampled").sum() == round(1000 * fraction)


def test_cap_is_per_dataset():
    selected = select(made(), cells(downsample={"max_cells_per_dataset": 30}), 0)
    used = selected[selected["fate"] != "not_sampled"]
    assert used["dataset_id"].value_counts().tolist() == [30] * 5


def test_fewer_cells_are_a_subset():
    def used(**downsample):
        selected = select(made(), cells(downsample=downsample), 4)
        return set(selected["soma_joinid"][selected["fate"] != "not_sampled"])

    assert used(fraction=0.2) < used(fraction=0.5) < used()
    assert used(fraction=0.5, max_cells_per_dataset=10) < used(fraction=0.5, max_cells_per_dataset=20)


def test_draw_depends_on_the_cell_and_the_seed_alone():
    section = cells(downsample={"fraction": 0.5})
    whole = select(made(), section, 1).set_index("soma_joinid")["fate"]
    assert not whole.equals(select(made(), section, 2).set_index("soma_joinid")["fate"])
    # Cells that the rules remove compete no more, so others may join, but none that was drawn is lost.
    fewer = made(is_primary_data=np.arange(1000) >= 300)
    kept = select(fewer, cells(downsample={"fraction": 500 / 700}), 1).set_index("soma_joinid")["fate"]
    drawn = whole.index[whole.isin(["train", "validation"]) & (whole.index >= 900)]
    assert kept[drawn].isin(["train", "validation"]).all()


def test_nothing_left_is_an_error(obs):
    with pytest.raises(WcedError, match="no cell is left of 553"):
        select(obs, cells(filter={"min_counts": 10**9}), 0)


def test_table_adds_up(census, obs, tmp_path):
    selected = select(obs, cells(filter=RULES, downsample={"max_cells_per_dataset": 120}), 0)
    table = summarise(selected, {"blood_symbols": "Blood"})
    accounted = table[[*REMOVED, "train", "validation"]].sum(axis=1)
    assert (accounted == table["cells_in"]).all()
    totals = table.groupby("level")[["cells_in", "train", "validation", "unknown_in_validation"]].sum()
    assert set(totals.index) == {"dataset", "tissue", "cell_type"}
    assert (totals == totals.iloc[0]).all().all()
    assert totals["cells_in"].iloc[0] == len(obs)
    rows = table[table["level"] == "dataset"].set_index("dataset")
    assert rows.index.tolist() == SECTION.datasets
    assert rows.loc["blood_symbols", "name"] == "Blood"
    assert rows["split_by"].tolist() == ["donor", "cell", "cell"]
    assert table.set_index("term").loc["CL:0000236", "split_by"] == "mixed"


def test_types_that_train_lacks_are_counted():
    n = 40
    obs = made(
        n, dataset_id=["d"] * n, donor_id=["a"] * 8 + ["b"] * 16 + ["c"] * 16,
        cell_type_ontology_term_id=["CL:1"] * 2 + ["CL:2"] * 5 + ["unknown"] + ["CL:2"] * 30 + ["CL:3"] * 2,
    )  # fmt: skip
    selected = select(obs, cells(split={"strategy": "donor", "validation_fraction": 0.2}), 0)
    table = summarise(selected, {}).set_index(["level", "term"])
    assert table.loc[("dataset", "d"), ["validation", "unknown_in_validation"]].tolist() == [8, 3]
    assert table.loc[("cell_type", "CL:1"), ["train", "unknown_in_validation"]].tolist() == [0, 2]
    assert table.loc[("cell_type", "unknown"), "unknown_in_validation"] == 1
    assert table.loc[("cell_type", "CL:2"), "unknown_in_validation"] == 0


def test_files(census, tmp_path):
    section = cells(filter=RULES)
    for name in ("a", "b"):
        select_cells(census, SECTION, section, 3, tmp_path / f"{name}.parquet", tmp_path / f"{name}.tsv")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    frame, table = read_cells(tmp_path / "a.parquet"), tables.read(tables.CORPUS, tmp_path / "a.tsv")
    assert list(frame.columns) == [*COLUMNS, "split"]
    assert frame["soma_joinid"].is_monotonic_increasing
    per_dataset = table[table["level"] == "dataset"]
    assert (frame["split"] == "train").sum() == per_dataset["train"].sum()
    assert (frame["split"] == "validation").sum() == per_dataset["validation"].sum()


def test_other_format_version_is_refused(obs, tmp_path, monkeypatch):
    monkeypatch.setattr("wced.corpus.cells.FORMAT_VERSION", 99)
    write_cells(select(obs, Cells(), 0), tmp_path / "cells.parquet")
    monkeypatch.undo()
    with pytest.raises(WcedError, match="format version 99"):
        read_cells(tmp_path / "cells.parquet")
    pq.write_table(pq.read_table(tmp_path / "cells.parquet").replace_schema_metadata({}), tmp_path / "plain.parquet")
    with pytest.raises(WcedError, match="format version none"):
        read_cells(tmp_path / "plain.parquet")


def test_value_filter_narrows_the_collection(census):
    narrowed = SECTION.model_copy(update={"obs_value_filter": "tissue_general == 'lung'"})
    assert set(read_obs(census, narrowed)["tissue"].astype(str)) == {"lung"}


@pytest.mark.parametrize(
    ("condition", "words"),
    [("tissue_general == 'moon'", "no cell"), ("nothing == 'x'", "fails"), ("tissue = =", "fails")],
    ids=["no match", "no column", "no syntax"],
)
def test_value_filter_that_fails(census, condition, words):
    with pytest.raises(WcedError, match=words):
        read_obs(census, SECTION.model_copy(update={"obs_value_filter": condition}))


def test_collection_without_mitochondrial_fractions(collection, tmp_path):
    copy = tmp_path / "census"
    shutil.copytree(collection, copy)
    uri = str(copy / "census_data" / "homo_sapiens" / "obs")
    with soma.open(uri) as frame:
        keep = [field for field in frame.schema if field.name != "mt_fraction"]
        data = frame.read(column_names=[field.name for field in keep]).concat()
    shutil.rmtree(uri)
    soma.DataFrame.create(uri, schema=data.schema, domain=[(0, data.num_rows - 1)]).close()
    with soma.open(uri, "w") as frame:
        frame.write(data)
    with open_census(Census(uri=str(copy))) as census:
        assert len(read_obs(census, SECTION)) == 553
        with pytest.raises(WcedError, match=r"no column mt_fraction; set cells\.filter\.max_mt_fraction to null"):
            read_obs(census, SECTION, 0.2)

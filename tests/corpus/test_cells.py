import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiledbsoma as soma

from wced import tables
from wced.config.corpus import Cells, Census
from wced.corpus.build import build_census
from wced.corpus.cells import (
    COLUMNS,
    FATES,
    REMOVED,
    needed_columns,
    read_cells,
    read_cells_of,
    select,
    select_cells,
    summarise,
    write_cells,
)
from wced.corpus.census import open_census
from wced.errors import WcedError

SECTION = Census(datasets=["blood_symbols", "spleen_ensembl", "lung_smartseq"])
RULES = {"min_counts": 100, "min_genes": 20, "max_mt_fraction": 0.3}


@pytest.fixture(scope="module")
def obs(census):
    return read_cells_of(census, SECTION, cells(filter=RULES))


def cells(**sections):
    return Cells.model_validate(sections)


def fates(obs, section, seed=0):
    """Return what became of each cell, in words."""
    return pd.Series(np.array(FATES)[select(obs, section, seed).fate], index=obs.index)


def flawless(n=1000, **columns):
    """Return obs of n cells of five datasets without faults, changed by columns."""
    texts = {name: ["x"] * n for name in COLUMNS} | {"dataset_id": [f"d{i % 5}" for i in range(n)]}
    numbers = {"soma_joinid": np.arange(n) * 3, "raw_sum": 1000.0, "nnz": 500, "is_primary_data": True}
    frame = pd.DataFrame(texts).assign(**(numbers | {"mt_fraction": 0.01} | columns))
    return frame.astype(dict.fromkeys(frame.select_dtypes("object").columns, "category"))


@pytest.mark.parametrize(
    ("rules", "removed"),
    [
        ({}, {"not_primary": 4}),
        ({"primary_only": False}, {}),
        ({"min_counts": 100}, {"not_primary": 4, "low_counts": 3}),
        ({"min_genes": 51}, {"not_primary": 4, "low_genes": 3}),
        ({"max_mt_fraction": 0.6}, {"not_primary": 4, "high_mt": 2}),
        ({"min_counts": 100, "min_genes": 51}, {"not_primary": 4, "low_counts": 3}),
        ({"max_mt_fraction": 0.6, "min_counts": 100}, {"not_primary": 4, "low_counts": 3, "high_mt": 2}),
    ],
    ids=["primary", "none", "counts", "genes", "mt", "first rule takes the blame", "all"],
)
def test_rules_and_their_counts(obs, rules, removed):
    counts = fates(obs, cells(filter=rules)).value_counts()
    assert {fate: n for fate, n in counts.items() if fate in REMOVED} == removed and counts.sum() == len(obs)


def test_only_good_cells_are_sampled_and_only_sampled_ones_split():
    obs = flawless(is_primary_data=np.arange(1000) >= 300)
    section = cells(sampling=[{"kind": "cap", "cells": 30, "by": ["dataset_id"]}])
    selection = select(obs, section, 0)
    fate = pd.Series(np.array(FATES)[selection.fate])
    assert (fate[:300] == "not_primary").all()
    assert fate[300:].isin(["not_sampled", "train", "validation"]).all()
    used = fate.isin(["train", "validation"])
    assert obs["dataset_id"][used].value_counts().tolist() == [30] * 5
    of_steps = selection.tables
    assert of_steps["sampling"]["cells_there"].sum() == 700 and of_steps["sampling"]["cells_taken"].sum() == 150
    assert ((selection.split_by >= 0) == used).all() and of_steps["split"]["cells"].sum() == 150
    assert of_steps["qc"]["removed"].sum() == 300 and of_steps["qc_histograms"]["kept"].sum() == 3 * 700


def test_a_cell_stays_sampled_when_others_are_gone():
    section = cells(sampling=[{"kind": "fraction", "fraction": 0.5}])
    whole = fates(flawless(), section)
    assert not whole.equals(fates(flawless(), section, seed=2))
    # Cells that the rules remove compete no more, so others may join, but none that was sampled is lost.
    fewer = flawless(is_primary_data=np.arange(1000) >= 300)
    kept = fates(fewer, cells(sampling=[{"kind": "fraction", "fraction": 500 / 700}]))
    sampled = whole.index[whole.isin(["train", "validation"]) & (whole.index >= 300)]
    assert kept[sampled].isin(["train", "validation"]).all()


def test_nothing_left_is_an_error(obs):
    with pytest.raises(WcedError, match="no cell is left of 553"):
        select(obs, cells(filter={"min_counts": 10**9}), 0)
    nothing = {"kind": "stratified", "by": "dataset_id", "fractions": {}, "otherwise": 0}
    with pytest.raises(WcedError, match=r"the steps of cells\.sampling remove them all"):
        select(flawless(), cells(sampling=[nothing]), 0)


def change_obs(collection, change):
    """Write obs of a collection anew, as `change` makes it from the old table."""
    uri = str(collection / "census_data" / "homo_sapiens" / "obs")
    with soma.open(uri) as frame:
        table = change(frame.read().concat())
    shutil.rmtree(uri)
    soma.DataFrame.create(uri, schema=table.schema, domain=[(0, table.num_rows - 1)]).close()
    with soma.open(uri, "w") as frame:
        frame.write(table)


@pytest.mark.parametrize("values", [["True", "False"], [1, 0]], ids=["text", "numbers"])
def test_primary_data_of_other_collections(sources, tmp_path, values):
    build_census(sources[:1], tmp_path / "census")

    def change(table):
        frame = table.to_pandas()
        return pa.Table.from_pandas(frame.assign(is_primary_data=np.resize(values, len(frame))), preserve_index=False)

    change_obs(tmp_path / "census", change)
    with open_census(SECTION, tmp_path / "census") as census:
        primary = read_cells_of(census, SECTION, cells())["is_primary_data"]
    assert primary.tolist() == np.resize([True, False], len(primary)).tolist()


def test_table_adds_up(census, obs, tmp_path):
    section = cells(filter=RULES, sampling=[{"kind": "cap", "cells": 120, "by": ["dataset_id"]}])
    selection = select(obs, section, 0)
    table = summarise(obs, selection, {"blood_symbols": "Blood"})
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
    # The table of QC and the split's tell the same.
    by_rule = selection.tables["qc"].groupby("rule")["removed"].sum()
    assert (by_rule == rows[by_rule.index].sum()).all() and by_rule.sum() > 0
    assert selection.tables["split"].set_index("dataset")["validation"].equals(rows["validation"].sort_index())


def test_types_that_train_lacks_are_counted():
    n = 40
    obs = flawless(
        n, dataset_id=["d"] * n, donor_id=["a"] * 8 + ["b"] * 16 + ["c"] * 16,
        cell_type_ontology_term_id=["CL:1"] * 2 + ["CL:2"] * 5 + ["unknown"] + ["CL:2"] * 30 + ["CL:3"] * 2,
    )  # fmt: skip
    selection = select(obs, cells(split={"strategy": "donor", "validation_fraction": 0.19}), 0)
    table = summarise(obs, selection, {}).set_index(["level", "term"])
    assert table.loc[("dataset", "d"), ["validation", "unknown_in_validation"]].tolist() == [8, 3]
    assert table.loc[("cell_type", "CL:1"), ["train", "unknown_in_validation"]].tolist() == [0, 2]
    assert table.loc[("cell_type", "unknown"), "unknown_in_validation"] == 1
    assert table.loc[("cell_type", "CL:2"), "unknown_in_validation"] == 0
    listed = selection.tables["split_exceptions"]
    broken = listed[listed["exception"] == "not_in_train"]
    assert broken[["term", "validation"]].to_numpy().tolist() == [["CL:1", 2]]


def test_files(census, tmp_path):
    section = cells(filter=RULES, sampling=[{"kind": "total", "cells": 400, "by": ["cell_type"]}])
    steps: list[str] = []
    for name in ("a", "b"):
        folder = tmp_path / name
        select_cells(census, SECTION, section, 3, folder / "cells.parquet", folder / "corpus.tsv", steps.append)
    assert steps[:5] == steps[5:] == ["read", "quality", "sampling", "split", "write"]
    of_steps = ("qc.tsv", "qc_histograms.tsv", "sampling.tsv", "split.tsv", "split_exceptions.tsv")
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["cells.parquet", "corpus.tsv", *of_steps]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
        if file in of_steps:
            read = tables.read(tables.TABLES[file.removesuffix(".tsv")], tmp_path / "a" / file)
            assert len(read) or file == "split_exceptions.tsv"  # no type of this corpus is an exception
    frame = read_cells(tmp_path / "a" / "cells.parquet")
    table = tables.read(tables.CORPUS, tmp_path / "a" / "corpus.tsv")
    assert list(frame.columns) == [*COLUMNS, "split"]
    assert frame["soma_joinid"].is_monotonic_increasing and len(frame) == 400
    per_dataset = table[table["level"] == "dataset"]
    assert (frame["split"] == "train").sum() == per_dataset["train"].sum()
    assert (frame["split"] == "validation").sum() == per_dataset["validation"].sum()


def test_further_columns_of_obs_are_kept(census, tmp_path):
    keep = ["mt_fraction", "sex", "tissue", "batch", "is_primary_data"]
    select_cells(census, SECTION, Cells(), 3, tmp_path / "cells.parquet", tmp_path / "corpus.tsv", keep=keep)
    frame = read_cells(tmp_path / "cells.parquet")
    assert list(frame.columns) == [*COLUMNS, *[name for name in keep if name != "tissue"], "split"]
    whole = census["census_data"]["homo_sapiens"].obs.read(column_names=["soma_joinid", *keep]).concat().to_pandas()
    whole = whole.set_index("soma_joinid").loc[frame["soma_joinid"]].reset_index(drop=True)
    for name in keep:
        np.testing.assert_array_equal(frame[name], whole[name].astype(frame[name].dtype))


def test_other_format_version_is_refused(obs, tmp_path, monkeypatch):
    monkeypatch.setattr("wced.corpus.cells.FORMAT_VERSION", 99)
    write_cells(obs, select(obs, Cells(), 0), tmp_path / "cells.parquet")
    monkeypatch.undo()
    with pytest.raises(WcedError, match="format version 99"):
        read_cells(tmp_path / "cells.parquet")
    pq.write_table(pq.read_table(tmp_path / "cells.parquet").replace_schema_metadata({}), tmp_path / "plain.parquet")
    with pytest.raises(WcedError, match="format version none"):
        read_cells(tmp_path / "plain.parquet")


@pytest.mark.parametrize(
    ("first", "last"), [(0, None), (0, 50), (49, 51), (120, 303), (398, 400), (7, 7), (400, 400)], ids=str
)
def test_some_rows_are_read(tmp_path, first, last):
    obs = flawless(400)
    write_cells(obs, select(obs, Cells(), 0), tmp_path / "cells.parquet")
    table = pq.read_table(tmp_path / "cells.parquet")
    pq.write_table(table, tmp_path / "cells.parquet", row_group_size=50)
    whole, part = (read_cells(tmp_path / "cells.parquet", *rows) for rows in ((), (first, last)))
    assert part.dtypes.astype(str).equals(whole.dtypes.astype(str))
    pd.testing.assert_frame_equal(part.astype(str), whole.iloc[first:last].reset_index(drop=True).astype(str))
    assert list(read_cells(tmp_path / "cells.parquet", columns=["nnz"])) == ["nnz"]


def test_only_needed_columns_are_read(obs):
    assert list(obs.columns) == [*COLUMNS, "is_primary_data", "mt_fraction"]
    section = cells(sampling=[{"kind": "cap", "cells": 3, "by": ["disease", "donor_id"]}])
    assert needed_columns(section) == [*COLUMNS, "is_primary_data", "disease"]


@pytest.mark.parametrize("rules", [{"max_mt_fraction": 0.2}, {"mads": {"mt_fraction": 3}}], ids=["fixed", "outliers"])
def test_collection_without_mitochondrial_fractions(collection, tmp_path, rules):
    shutil.copytree(collection, tmp_path / "census")
    change_obs(tmp_path / "census", lambda table: table.drop_columns("mt_fraction"))
    with open_census(Census(uri=str(tmp_path / "census"))) as census:
        assert len(read_cells_of(census, SECTION, Cells())) == 553
        with pytest.raises(
            WcedError, match=r"no column mt_fraction; set cells\.filter\.max_mt_fraction and .* to null"
        ):
            read_cells_of(census, SECTION, cells(filter=rules))

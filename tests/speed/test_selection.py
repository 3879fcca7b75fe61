import pandas as pd
import pytest
from typer.testing import CliRunner

from speed.__main__ import app
from speed.commands import selection
from speed.selection import SECTION, extrapolated, generate, measure
from wced import tables
from wced.config.corpus import Census
from wced.corpus.cells import read_cells, read_cells_of, select_cells
from wced.corpus.census import open_census
from wced.errors import WcedError

STEPS = ["read", "quality", "sampling", "split", "write", "whole"]


def test_generated_cells_are_like_a_census(tmp_path):
    generate(tmp_path / "census", 20_000)
    section = Census(uri=str(tmp_path / "census"))
    with open_census(section) as census:
        obs = read_cells_of(census, section, SECTION)
        select_cells(census, section, SECTION, 0, tmp_path / "cells.parquet", tmp_path / "corpus.tsv")
    assert obs["soma_joinid"].tolist() == list(range(20_000))
    assert obs["dataset_id"].nunique() > 450 and 300 < obs["cell_type"].nunique() <= 700
    sizes = obs["dataset_id"].value_counts()
    assert sizes.max() > 20 * sizes.median(), "datasets are too equal"
    table = tables.read(tables.QC, tmp_path / "qc.tsv")
    assert (table.groupby("rule")["removed"].sum() > 0).sum() >= 5, "most rules have nothing to do"
    cells = read_cells(tmp_path / "cells.parquet")
    assert (cells["split"] == "validation").mean() == pytest.approx(0.2, abs=0.02)
    assert tables.read(tables.SPLIT, tmp_path / "split.tsv")["method"].tolist() == ["optimal"]


def test_the_table_has_every_step(tmp_path):
    options = ["selection", "--rows", "3000", "--output", str(tmp_path / "selection.tsv")]
    assert CliRunner().invoke(app, options, catch_exceptions=False).exit_code == 0
    table = tables.read(tables.SELECTION_BENCHMARK, tmp_path / "selection.tsv").set_index("step")
    assert table.index.tolist() == STEPS and (table["rows"] == 3000).all() and not table["extrapolated"].any()
    assert table["seconds"].drop("whole").sum() <= table.loc["whole", "seconds"]
    assert table["peak_mb"].is_monotonic_increasing and (table[["seconds", "peak_mb"]] > 0).all().all()


def test_extrapolation_is_a_marked_line():
    small, large = (
        pd.DataFrame({"rows": n, "step": STEPS, "seconds": n / 10, "cpu_seconds": n / 20, "peak_mb": 5 + n / 2})
        for n in (10, 20)
    )
    line = tables.checked(extrapolated(small, large.assign(extrapolated=False), 100), tables.SELECTION_BENCHMARK)
    numbers = line.drop(columns="step").drop_duplicates().to_dict("records")
    assert numbers == [{"rows": 100, "seconds": 10.0, "cpu_seconds": 5.0, "peak_mb": 55.0, "extrapolated": True}]


@pytest.mark.parametrize("rows", ["many", "0"], ids=["text", "none"])
def test_wrong_sizes_are_refused(rows, tmp_path):
    with pytest.raises(WcedError, match="--rows"):
        selection(tmp_path / "x.tsv", rows)


@pytest.mark.release(part="scale")
def test_ten_million_cells_in_bounded_memory_and_time():
    """Bounds: 2.5 GB, and 90 seconds of processor time (it takes about 1.5 GB and 10 s; wall time is the machine's)."""
    whole = measure([10_000_000]).set_index("step").loc["whole"]
    assert whole["peak_mb"] < 2500
    assert whole["cpu_seconds"] < 90

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from speed import page
from speed.__main__ import app
from speed.run import throughput
from speed.works import full_shuffle_entropy
from wced import tables
from wced.errors import WcedError

CELLS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of a run of our own system, the floor, and a peer whose environment is not there."""
    folder = tmp_path_factory.mktemp("throughput")
    done = CliRunner().invoke(
        app,
        [
            "throughput", "--output", str(folder / "tables" / "throughput.tsv"), "--cells", str(CELLS),
            "--repeats", "2", "--seconds", "0.01", "--systems", "ours,copy_floor,annbatch", "--works", "wced_batches",
            "--lengths", "64", "--peers-python", str(folder / "none" / "python"),
        ],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return tables.read(tables.THROUGHPUT, folder / "tables" / "throughput.tsv").set_index("system")


def test_each_system_has_its_row(table):
    assert list(table.index) == ["ours", "annbatch", "copy_floor"]
    assert (table["work"] == "wced_batches").all() and (table["length"] == 64).all()
    ours, floor = table.loc["ours"], table.loc["copy_floor"]
    assert ours["repeats"] == 2 and ours["cells"] % CELLS == 0 and ours["cells"] >= 2 * CELLS
    assert ours["min"] <= ours["cells_per_second"] <= ours["max"]
    assert ours["tokens_per_second"] == pytest.approx(64 * ours["cells_per_second"], rel=1e-4)
    assert ours["peak_mb"] > ours["grown_mb"] > 0
    assert ours["ratio_of_ours"] == 1
    assert floor["ratio_of_ours"] == pytest.approx(ours["cells_per_second"] / floor["cells_per_second"], rel=1e-5)
    # A system without an environment has the reason.
    assert "peers' environment" in table.loc["annbatch", "reason"]
    assert np.isnan(table.loc["annbatch", "cells_per_second"]) and table.loc["annbatch", "cells"] == 0
    assert (table["reason"] == "").tolist() == [True, False, True]


def test_entropy_is_beside_the_rate(folder, table):
    dataset = np.load(folder / "data" / "dataset.npy")
    ours = table.loc["ours"]
    assert ours["full_shuffle_entropy"] == pytest.approx(full_shuffle_entropy(dataset, 60), rel=1e-4)  # 300 in 5
    assert ours["entropy_ratio"] == pytest.approx(ours["batch_entropy"] / ours["full_shuffle_entropy"], rel=1e-4)
    assert 0.95 < ours["entropy_ratio"] < 1.05
    assert table.loc[["annbatch", "copy_floor"], "batch_entropy"].isna().all()


def test_a_process_that_fails_has_the_reason(folder, monkeypatch):
    (folder / "broken").mkdir()
    (folder / "broken" / "data").symlink_to(folder / "data")
    monkeypatch.setattr("speed.run.write_data", lambda *_: None)
    monkeypatch.setattr("speed.run.ONE_THREAD", {"PYTHONHOME": str(folder / "nowhere")})
    frame = throughput(
        folder / "broken" / "table.tsv", folder / "broken", cells=CELLS, repeats=1, seconds=0, seed=0,
        peers_python="none", systems=["ours"], works=["raw_batches"],
    )  # fmt: skip
    assert "its process ended with status 1" in frame["reason"].item()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"systems": ["theirs"]}, "no system theirs; there are ours, "),
        ({"works": ["sleep"]}, "no work sleep; there are write_shards, "),
    ],
    ids=["system", "work"],
)
def test_unknown_systems_and_works_are_refused(tmp_path, options, message):
    with pytest.raises(WcedError, match=message):
        throughput(
            tmp_path / "t.tsv", tmp_path, cells=1, repeats=1, seconds=0, seed=0, peers_python="none", **options
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_the_page_shows_the_table(folder, table, tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"# Speed\n\n{page.BEGIN}\nold\n{page.END}\n\nWhat it means.\n")
    page.write_page(folder / "tables" / "throughput.tsv", path)
    text = path.read_text()
    assert text.startswith("# Speed\n") and text.endswith("\nWhat it means.\n") and "\nold\n" not in text
    assert f"| ours | {table.loc['ours', 'version']} | {table.loc['ours', 'cells_per_second']:,.0f} |" in text
    assert f"| annbatch |  | none: {table.loc['annbatch', 'reason']} |" in text
    record = json.loads((folder / "tables" / "throughput.tsv.provenance.json").read_text())
    assert record["machine"]["processor"] in text and f"{CELLS} cells" in text
    page.write_page(folder / "tables" / "throughput.tsv", path)
    assert path.read_text() == text
    path.write_text("# Speed\n")
    with pytest.raises(WcedError, match="lacks the marks"):
        page.write_page(folder / "tables" / "throughput.tsv", path)


@pytest.mark.release(part="scale")
def test_memory_of_a_loader_does_not_grow_with_the_corpus(tmp_path):
    table = throughput(
        tmp_path / "table.tsv", tmp_path, cells=20_000, repeats=1, seconds=0.1, seed=0, peers_python="none",
        systems=["ours", "ours_4x_cells"], works=["raw_batches", "wced_batches"], lengths=[2048],
    )  # fmt: skip
    grown = table.pivot(index="work", columns="system", values="grown_mb")
    assert (grown["ours_4x_cells"] < 1.1 * grown["ours"] + 8).all(), grown

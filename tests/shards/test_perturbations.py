import json

import numpy as np
import pandas as pd
import pytest

from wced.errors import WcedError
from wced.genes.names import gene_names
from wced.shards.encode import Encoding, encode
from wced.shards.perturbations import gene_ids_of, make_perturbations, mark_perturbed
from wced.shards.reader import ShardSet
from wced.shards.vocabulary import Vocabulary

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
        ("A", {"A": 0}),
        ("OLDA", {"OLDA": 0}),
        ("BEE", {"BEE": 1}),
        ("ENSG00000000002", {"ENSG00000000002": 1}),
        ("ENSG00000000002.14", {"ENSG00000000002.14": 1}),
        (" B ;A", {"B": 1, "A": 0}),
        ("B;control", {"B": 1}),
        ("C", {"C": -1}),
        ("nobody;A", {"nobody": -1, "A": 0}),
        ("control", {}),
        ("Non-targeting", {}),
        ("", {}),
        ("unknown;NA", {}),
    ],
)
def test_genes_by_any_name(value, expected):
    names = gene_names(GENES)
    assert gene_ids_of(["A;B", value, ""], VOCABULARY, names)[1] == expected


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


def test_marks_stand_where_a_sequence_has_the_gene():
    rng = np.random.default_rng(0)
    gene, lengths = rng.integers(0, 9, (50, 12)).astype(np.int32), rng.integers(0, 13, 50)
    perturbed = rng.integers(-1, 9, (50, 3)).astype(np.int32)
    state = np.full(gene.shape, 7, np.int8)
    mark_perturbed(gene, lengths, perturbed, state)
    there = np.arange(12) < lengths[:, None]
    expected = there & (gene[:, :, None] == perturbed[:, None, :]).any(axis=2)
    np.testing.assert_array_equal(state, expected)
    assert 0 < state.sum() < state.size / 2


@pytest.mark.parametrize("zeros", ["exclude", "include"])
def test_batches_say_which_positions_have_a_perturbed_gene(annotated, zeros):
    shards = ShardSet(annotated.shards)
    places = np.arange(len(shards))[::-3]
    encoding = Encoding(length=400, zeros=zeros, dropout=0.1)
    batch = encode(shards.views(places), shards.measured_dv, encoding, training=True, seed=2)
    guides = annotated.frame["guide"].to_numpy()[places]
    for i, guide in enumerate(guides):
        own = batch.gene[i, : batch.length[i]]
        expected = np.isin(own, annotated.perturbed.get(guide, []))
        assert batch.gene_state[i, : batch.length[i]].tolist() == expected.tolist()
        assert not batch.gene_state[i, batch.length[i] :].any()
    assert batch.gene_state.dtype == np.int8 and batch.gene_state.any()


def test_genes_that_cannot_be_marked_are_told(annotated):
    record = json.loads((annotated.shards / "labels.json").read_text())["perturbations"]
    assert record["column"] == "guide" and set(record["genes"]) == set(annotated.perturbed)
    assert record["unmarked"] == {"LINC00001": int((annotated.frame["guide"] == "LINC00001").sum())}
    provenance = json.loads((annotated.shards / "vocabulary.tsv.provenance.json").read_text())
    assert provenance["perturbations"] == 3 and provenance["unmarked_genes"] == 1

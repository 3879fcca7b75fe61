from dataclasses import replace

import numpy as np
import pytest
import torch

from small_model import CELL_TYPE, TISSUE
from wced.embedding import annotation
from wced.embedding.annotation import annotate, hierarchical, lineage_of_terms, ontology_column
from wced.embedding.inference import label_logits
from wced.embedding.inputs import read_cells
from wced.errors import WcedError
from wced.ontology.cut import OntologyCut

#          a
#        /   \
#       b     c        b is more probable than c, but c has the best leaf
#      / \   / \
#     d   e f   g      f has the parents b and c
CUT = OntologyCut(
    tuple("abcdefg"), ("A", "B", "C", "D", "E", "F", "G"), ((), (0,), (0,), (1,), (1,), (1, 2), (2,))
)  # fmt: skip


@pytest.fixture
def annotated(checkpoint, adata):
    cells = read_cells(adata, checkpoint)
    return lambda **how: annotate(cells, adata.obs_names, checkpoint, batch_size=3, **how)


def test_the_most_probable_leaf(checkpoint, adata, annotated):
    cells = read_cells(adata, checkpoint)
    logits = label_logits(cells, checkpoint, CELL_TYPE, batch_size=7)
    with torch.no_grad():  # so that the leaves share the cells
        checkpoint.model.label_heads[0][-1].bias[0] -= float(np.median(logits[:, 0] - logits[:, 1])) + 1e-3
    logits = label_logits(cells, checkpoint, CELL_TYPE, batch_size=7)
    frame = annotated()
    p_nl = torch.softmax(torch.from_numpy(logits).double(), 1)
    assert list(frame.columns) == ["cell", "predicted_term", "probability", "predicted_label", "lineage"]
    assert frame["cell"].tolist() == adata.obs_names.tolist()
    leaves = {"CL:2": ("two", "CL:0;CL:2"), "CL:3": ("three", "CL:0;CL:1;CL:3")}  # CL:1 has a child
    assert frame["predicted_term"].tolist() == np.array(list(leaves))[p_nl.argmax(1)].tolist()
    assert frame["predicted_term"].nunique() == 2
    np.testing.assert_allclose(frame["probability"], p_nl.max(1).values, rtol=1e-5)
    labels = list(zip(frame["predicted_label"], frame["lineage"], strict=True))
    assert labels == [leaves[term] for term in frame["predicted_term"]]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_greedy_goes_to_the_more_probable_child(rows, monkeypatch):
    monkeypatch.setattr(annotation, "ROWS", rows)
    p_nl = np.array([[0.25, 0.25, 0.1, 0.4], [0.1, 0.2, 0.6, 0.1], [0.0, 0.1, 0.2, 0.7]])  # of d, e, f, g
    with np.errstate(divide="ignore"):
        logits = np.log(p_nl)
    terms, probability = hierarchical(CUT, logits, "leaf_argmax")
    assert terms.tolist() == [6, 5, 6] and np.allclose(probability, [0.4, 0.6, 0.7])
    terms, probability = hierarchical(CUT, logits, "greedy")
    assert terms.tolist() == [3, 5, 6] and np.allclose(probability, [0.25, 0.6, 0.7])


def test_a_residual_leaf_is_called_by_its_term(make, checkpoint, adata):
    """The term is a plain id of the ontology, with the probability of all that is below it."""
    head = {"column": CELL_TYPE, "loss": "hierarchical", "classes": 3}
    checkpoint = make(heads=[head], ontology=replace(checkpoint.ontology, residuals=(1,)))
    with torch.no_grad():  # the leaves are two, three, and the residual of one, which wins
        checkpoint.model.label_heads[0][-1].weight.zero_()
        checkpoint.model.label_heads[0][-1].bias.copy_(torch.tensor([0.2, 0.3, 0.5]).log())
    cells = read_cells(adata, checkpoint)
    for method in annotation.METHODS:
        frame = annotate(cells, adata.obs_names, checkpoint, method=method, probabilities=True, batch_size=3)
        assert set(frame["predicted_term"]) == {"CL:1"} and set(frame["predicted_label"]) == {"one"}
        assert set(frame["lineage"]) == {"CL:0;CL:1"}
        np.testing.assert_allclose(frame["probability"], 0.8, rtol=1e-6)
        np.testing.assert_allclose(np.stack(frame["leaf_probabilities"])[0], [0.2, 0.3, 0.5], rtol=1e-6)


def test_the_method_is_passed_to_the_ontology(annotated, monkeypatch):
    monkeypatch.setattr(OntologyCut, "greedy", lambda self, logits: np.zeros(len(logits), np.int64))
    frame = annotated(method="greedy")
    assert (frame["predicted_term"] == "CL:0").all() and np.allclose(frame["probability"], 1)


def test_a_lineage_has_ancestors_before_descendants():
    assert lineage_of_terms(CUT) == ["a", "a;b", "a;c", "a;b;d", "a;b;e", "a;b;c;f", "a;c;g"]


def test_classes_of_a_flat_head(checkpoint, adata, annotated):
    frame = annotated(column=TISSUE)
    logits = label_logits(read_cells(adata, checkpoint), checkpoint, TISSUE, batch_size=7)
    p_nc = torch.softmax(torch.from_numpy(logits).double(), 1)
    assert list(frame.columns) == ["cell", "predicted_term", "probability", "predicted_label"]
    classes = checkpoint.labels.classes[TISSUE]
    assert frame["predicted_term"].tolist() == [classes[i] for i in p_nc.argmax(1)]
    np.testing.assert_allclose(frame["probability"], p_nc.max(1).values, rtol=1e-5)
    names = {"UBERON:0000178": "blood", "UBERON:0002048": "lung", "here": "here"}
    assert frame["predicted_label"].tolist() == [names[term] for term in frame["predicted_term"]]


def test_a_number_has_the_unit_of_the_training_cells(checkpoint, adata, annotated):
    logits = label_logits(read_cells(adata, checkpoint), checkpoint, "age", batch_size=7)[:, 0]
    frame = annotated(column="age")
    assert list(frame.columns) == ["cell", "predicted_value"]
    np.testing.assert_allclose(frame["predicted_value"], 40 + 10 * logits, rtol=1e-5)


def test_no_cell_is_no_error(checkpoint, adata):
    cells = read_cells(adata[:0].copy(), checkpoint)
    for column, columns in ((None, 5), (TISSUE, 4), ("age", 2)):
        frame = annotate(cells, adata.obs_names[:0], checkpoint, column=column, batch_size=3)
        assert frame.shape == (0, columns)


def test_heads_and_methods_that_do_not_exist_are_refused(annotated, make, adata):
    with pytest.raises(WcedError, match=r"^donor_id: the checkpoint has no such label head; it has cell_type"):
        annotated(column="donor_id")
    with pytest.raises(WcedError, match=r"^method: best is none of leaf_argmax, greedy$"):
        annotated(method="best")
    with pytest.raises(WcedError, match=f"^method greedy: .* that of {TISSUE} is flat"):
        annotated(column=TISSUE, method="greedy")
    flat = make(heads=[{"column": "donor_id", "loss": "focal", "classes": 3}], ontology=None)
    with pytest.raises(WcedError, match=r"no head over the Cell Ontology; its label heads: donor_id$"):
        ontology_column(flat)


def test_probabilities_of_the_leaves(checkpoint, adata, annotated):
    logits = label_logits(read_cells(adata, checkpoint), checkpoint, CELL_TYPE, batch_size=7)
    frame = annotated(probabilities=True)
    p_nl = np.stack(frame["leaf_probabilities"])
    np.testing.assert_allclose(p_nl, torch.softmax(torch.from_numpy(logits).double(), 1), rtol=1e-4)
    assert p_nl.dtype == np.float32 and np.allclose(p_nl.max(1), frame["probability"], rtol=1e-4)
    with pytest.raises(WcedError, match=f"^probabilities: .* that of {TISSUE} is flat$"):
        annotated(column=TISSUE, probabilities=True)

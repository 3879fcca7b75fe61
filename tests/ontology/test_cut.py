import json

import numpy as np
import pytest

from wced.errors import WcedError
from wced.ontology import CellOntology, OntologyCut, cut, load

#        r
#       / \
#      a   b
#     / \ / \
#    c   d   e      d has two parents; x stands below e, outside of most cuts
ONTOLOGY = CellOntology(
    version="test",
    labels={name: name.upper() for name in "rabcdex"},
    parents={"r": (), "a": ("r",), "b": ("r",), "c": ("a",), "d": ("a", "b"), "e": ("b",), "x": ("e",)},
    replacements={"old_c": "c"},
)


@pytest.fixture
def diamond() -> OntologyCut:
    return cut(ONTOLOGY, ["c", "d", "e"])


def logits(*probabilities):
    return np.log(np.array([probabilities]))


def test_cut_holds_ancestors_and_nothing_else(diamond):
    assert diamond.terms == ("a", "b", "c", "d", "e", "r")
    assert diamond.labels == ("A", "B", "C", "D", "E", "R")
    assert diamond.parents == ((5,), (5,), (0,), (0, 1), (1,), ())
    assert diamond.leaves.tolist() == [2, 3, 4]
    assert diamond.terms[diamond.root] == "r"


def test_descendant_leaves_by_hand(diamond):
    assert diamond.descendant_leaves_tl.astype(int).tolist() == [
        [1, 1, 0],  # a: c, d
        [0, 1, 1],  # b: d, e
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, 1, 1],
    ]


def test_a_corpus_term_with_a_corpus_descendant_is_internal():
    small = cut(ONTOLOGY, ["a", "d"])
    assert [small.terms[leaf] for leaf in small.leaves] == ["d"]


def test_obsolete_terms_are_replaced():
    assert cut(ONTOLOGY, ["old_c", "e"]) == cut(ONTOLOGY, ["c", "e"])


def test_node_probabilities_by_hand(diamond):
    np.testing.assert_allclose(diamond.node_probabilities(logits(0.2, 0.3, 0.5)), [[0.5, 0.8, 0.2, 0.3, 0.5, 1.0]])


def test_greedy_takes_the_heavier_subtree_and_leaf_argmax_the_best_leaf():
    tree = OntologyCut(
        terms=("a", "b", "c", "d", "e", "r"),
        labels=("A", "B", "C", "D", "E", "R"),
        parents=((5,), (5,), (0,), (1,), (1,), ()),
    )
    leaf_logits = logits(0.40, 0.25, 0.35)  # c; d and e below b, which holds 0.60
    assert tree.terms[tree.leaf_argmax(leaf_logits)[0]] == "c"
    assert tree.terms[tree.greedy(leaf_logits)[0]] == "e"


def test_greedy_where_a_leaf_has_two_parents(diamond):
    # a = c + d = 0.60 and b = d + e = 0.55, so greedy turns to a and then to c; with d heavier than c, to d.
    assert diamond.terms[diamond.greedy(logits(0.45, 0.15, 0.40))[0]] == "c"
    assert diamond.terms[diamond.greedy(logits(0.30, 0.31, 0.39))[0]] == "e"
    assert diamond.terms[diamond.greedy(logits(0.35, 0.36, 0.29))[0]] == "d"


def test_cells_are_decoded_each_by_itself(diamond):
    many = np.concatenate([logits(0.7, 0.2, 0.1), logits(0.1, 0.2, 0.7), logits(0.1, 0.8, 0.1)])
    assert [diamond.terms[i] for i in diamond.leaf_argmax(many)] == ["c", "e", "d"]
    assert [diamond.terms[i] for i in diamond.greedy(many)] == ["c", "e", "d"]


def test_leaves_of_different_depth_are_reached():
    uneven = cut(ONTOLOGY, ["c", "d", "x"])
    one_hot = np.where(np.eye(3, dtype=bool), 5.0, -5.0)
    assert [uneven.terms[i] for i in uneven.greedy(one_hot)] == ["c", "d", "x"]


def test_invariants_on_the_real_ontology():
    real = cut(load(), ["CL:0000625", "CL:0000624", "CL:0000084", "CL:0000236", "CL:0000576", "CL:0000066"])
    leaf_logits = np.random.default_rng(0).normal(scale=30, size=(50, len(real.leaves)))
    leaf_logits[0] = 1e4 * np.eye(len(real.leaves))[0]  # a gap that overflows a naive exponential
    probabilities = real.node_probabilities(leaf_logits)
    np.testing.assert_allclose(probabilities[:, real.root], 1.0)
    leaf_probabilities = probabilities[:, real.leaves]
    for term in range(len(real.terms)):
        np.testing.assert_allclose(
            probabilities[:, term], leaf_probabilities[:, real.descendant_leaves_tl[term]].sum(axis=1)
        )
    assert (probabilities[:, [parent for parents in real.parents for parent in parents]] <= 1 + 1e-12).all()
    assert np.isin(real.greedy(leaf_logits), real.leaves).all()
    assert "CL:0000084" not in {real.terms[leaf] for leaf in real.leaves}


def test_json_gives_the_same_cut(diamond):
    again = OntologyCut.from_json(json.loads(json.dumps(diamond.to_json())))
    assert again == diamond
    assert (again.descendant_leaves_tl == diamond.descendant_leaves_tl).all()


@pytest.mark.parametrize(
    ("terms", "message"),
    [pytest.param(["c", "nonsense"], "nonsense", id="unknown term"), pytest.param([], "no cell type", id="no term")],
)
def test_bad_terms_are_refused(terms, message):
    with pytest.raises(WcedError, match=message):
        cut(ONTOLOGY, terms)


def test_bad_json_and_bad_shapes_are_refused(diamond):
    with pytest.raises(WcedError, match="parents"):
        OntologyCut.from_json({"terms": [], "labels": []})
    with pytest.raises(WcedError, match="one root"):
        OntologyCut(("a", "b"), ("A", "B"), ((), ()))
    with pytest.raises(WcedError, match="3 leaves"):
        diamond.leaf_argmax(np.zeros((2, 4)))


def test_probabilities_of_leaves_roll_up_as_their_logits_do(diamond):
    p_nl = np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(diamond.roll_up(p_nl), diamond.node_probabilities(np.log(p_nl)))
    with pytest.raises(WcedError, match=r"shape \(1, 2\), expected cells × 3 leaves"):
        diamond.roll_up(p_nl[:, :2])


def test_descents_by_hand():
    uneven = cut(ONTOLOGY, ["c", "d", "x"])  # x is one link further down than c and d
    p_nl = np.array([[0.6, 0.3, 0.1], [0.0, 0.1, 0.9]])
    passed = [[uneven.terms[term] for term in path] for path in uneven.descents(uneven.roll_up(p_nl))]
    assert passed == [["r", "a", "c", "c"], ["r", "b", "e", "x"]]

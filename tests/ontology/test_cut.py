import json

import numpy as np
import pytest

from wced.errors import WcedError
from wced.ontology import CellOntology, OntologyCut, cut, load

#        r
#       / \
#      a   b
#     / \ / \
#    c   d   e      d has two parents; x is below e, outside of most cuts
ONTOLOGY = CellOntology(
    version="test",
    labels={name: name.upper() for name in "rabcdex"},
    parents={"r": (), "a": ("r",), "b": ("r",), "c": ("a",), "d": ("a", "b"), "e": ("b",), "x": ("e",)},
    replacements={"old_c": "c"},
)


DIAMOND = cut(ONTOLOGY, ["c", "d", "e"])
#   r → a (labelled) → c, d        leaves: c, d, e, x, then the residuals of a and b
#   r → b (labelled) → d, e
#   r → x
RESIDUAL = OntologyCut(tuple("abcderx"), tuple("ABCDERX"), ((5,), (5,), (0,), (0, 1), (1,), (), (5,)), residuals=(0, 1))


def named(graph, indices):
    return [graph.terms[i] for i in indices]


def test_cut_holds_ancestors_and_nothing_else():
    assert DIAMOND.terms == ("a", "b", "c", "d", "e", "r")
    assert DIAMOND.labels == ("A", "B", "C", "D", "E", "R")
    assert DIAMOND.parents == ((5,), (5,), (0,), (0, 1), (1,), ())
    assert DIAMOND.leaves.tolist() == [2, 3, 4]
    assert DIAMOND.terms[DIAMOND.root] == "r"
    a, b, root = [1, 1, 0], [0, 1, 1], [1, 1, 1]  # of the leaves c, d and e
    assert DIAMOND.descendant_leaves_tl.tolist() == [a, b, [1, 0, 0], [0, 1, 0], [0, 0, 1], root]


def test_corpus_terms_with_corpus_descendants_are_internal_and_obsolete_ones_replaced():
    small = cut(ONTOLOGY, ["a", "d"])
    assert named(small, small.leaves) == ["d"]
    assert cut(ONTOLOGY, ["old_c", "e"]) == cut(ONTOLOGY, ["c", "e"])


def test_greedy_takes_the_heavier_subtree_and_leaf_argmax_the_best_leaf():
    tree = OntologyCut(tuple("abcder"), tuple("ABCDER"), ((5,), (5,), (0,), (1,), (1,), ()))
    leaf_logits = np.log([[0.40, 0.25, 0.35]])  # c; d and e below b, which holds 0.60
    assert named(tree, tree.leaf_argmax(leaf_logits)) == ["c"] and named(tree, tree.greedy(leaf_logits)) == ["e"]


def test_greedy_where_a_leaf_has_two_parents():
    # a = c + d = 0.60 and b = d + e = 0.55, so greedy turns to a and then to c; with d heavier than c, to d.
    cells = np.log([[0.45, 0.15, 0.40], [0.30, 0.31, 0.39], [0.35, 0.36, 0.29]])
    assert named(DIAMOND, DIAMOND.greedy(cells)) == ["c", "e", "d"]
    assert named(DIAMOND, DIAMOND.leaf_argmax(cells)) == ["c", "e", "d"]


def test_invariants_on_the_real_ontology():
    real = cut(load(), ["CL:0000625", "CL:0000624", "CL:0000084", "CL:0000236", "CL:0000576", "CL:0000066"])
    leaf_logits = np.random.default_rng(0).normal(scale=30, size=(50, len(real.leaves)))
    leaf_logits[0] = 1e4 * np.eye(len(real.leaves))[0]  # a gap that overflows a naive exponential
    probabilities = real.node_probabilities(leaf_logits)
    np.testing.assert_allclose(probabilities[:, real.root], 1.0)
    leaf_probabilities = probabilities[:, real.leaves]
    for probability, below in zip(probabilities.T, real.descendant_leaves_tl, strict=True):
        np.testing.assert_allclose(probability, leaf_probabilities[:, below].sum(axis=1))
    assert (probabilities[:, [parent for parents in real.parents for parent in parents]] <= 1 + 1e-12).all()
    assert np.isin(real.greedy(leaf_logits), real.leaves).all()
    assert "CL:0000084" not in named(real, real.leaves)


def test_json_gives_the_same_cut_and_old_files_have_no_residual_leaves():
    for graph in (DIAMOND, RESIDUAL):
        assert OntologyCut.from_json(json.loads(json.dumps(graph.to_json()))) == graph
    old = DIAMOND.to_json()
    del old["residuals"]
    assert OntologyCut.from_json(old) == DIAMOND


def test_bad_terms_json_and_shapes_are_refused():
    with pytest.raises(WcedError, match="nonsense"):
        cut(ONTOLOGY, ["c", "nonsense"])
    with pytest.raises(WcedError, match="no cell type"):
        cut(ONTOLOGY, [])
    with pytest.raises(WcedError, match="parents"):
        OntologyCut.from_json({"terms": [], "labels": []})
    with pytest.raises(WcedError, match="one root"):
        OntologyCut(("a", "b"), ("A", "B"), ((), ()))
    with pytest.raises(WcedError, match="3 leaves"):
        DIAMOND.leaf_argmax(np.zeros((2, 4)))
    with pytest.raises(WcedError, match=r"shape \(1, 2\), expected cells × 3 leaves"):
        DIAMOND.roll_up(np.zeros((1, 2)))


def test_probabilities_of_leaves_roll_up_as_their_logits_do():
    p_nl = np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(DIAMOND.node_probabilities(np.log(p_nl)), [[0.5, 0.8, 0.2, 0.3, 0.5, 1.0]])
    np.testing.assert_allclose(DIAMOND.roll_up(p_nl), DIAMOND.node_probabilities(np.log(p_nl)))


def test_descents_reach_leaves_of_different_depth():
    uneven = cut(ONTOLOGY, ["c", "d", "x"])  # x is one link further down than c and d
    assert named(uneven, uneven.greedy(np.where(np.eye(3, dtype=bool), 5.0, -5.0))) == ["c", "d", "x"]
    p_nl = np.array([[0.6, 0.3, 0.1], [0.0, 0.1, 0.9]])
    assert [named(uneven, path) for path in uneven.descents(p_nl)] == [["r", "a", "c", "c"], ["r", "b", "e", "x"]]


def test_labels_with_children_have_a_residual_leaf_that_names_them():
    labels = ["a", "c", "d", "x"]  # x is below e and b, which label nothing
    graph = cut(ONTOLOGY, labels, residuals=True)
    assert named(graph, graph.leaves) == ["c", "d", "x", "a"]
    assert graph.residual_leaf_t.tolist() == [3, -1, -1, -1, -1, -1, -1]
    assert cut(ONTOLOGY, labels).residuals == ()
    assert cut(ONTOLOGY, ["r", *labels], residuals=True) == graph  # that a cell is a cell says nothing
    assert cut(ONTOLOGY, ["old_c", "a"], residuals=True).residuals == (0,)


def test_a_residual_leaf_is_below_its_term_and_the_ancestors_of_it():
    assert RESIDUAL.leaves.tolist() == [2, 3, 4, 6, 0, 1]
    assert RESIDUAL.descendant_leaves_tl.astype(int).tolist() == [
        [1, 1, 0, 0, 1, 0],  # a: c, d and its own
        [0, 1, 1, 0, 0, 1],
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 1],
        [0, 0, 0, 1, 0, 0],
    ]
    # The most probable residual leaf is its term.
    assert named(RESIDUAL, RESIDUAL.leaf_argmax(np.eye(6))) == ["c", "d", "e", "x", "a", "b"]


@pytest.mark.parametrize(
    ("p_l", "path"),  # of c, d, e, x, residual of a, residual of b
    [
        pytest.param([0.3, 0.0, 0.1, 0.2, 0.4, 0.0], "ra", id="the residual is more probable than either child"),
        pytest.param([0.3, 0.2, 0.1, 0.1, 0.25, 0.05], "rac", id="a child is more probable"),
        pytest.param([0.4, 0.0, 0.1, 0.1, 0.4, 0.0], "rac", id="a tie goes to the child"),
        pytest.param([0.0, 0.0, 0.0, 0.0, 1.0, 0.0], "ra", id="all of the mass"),
        pytest.param([0.1, 0.1, 0.1, 0.5, 0.1, 0.1], "rx", id="the heavier subtree comes first"),
        pytest.param([0.2, 0.3, 0.1, 0.0, 0.1, 0.3], "rbd", id="a shared child beats the residual by less than a sum"),
    ],
)
def test_greedy_ends_where_the_residual_is_the_most_probable(p_l, path):
    other = [0.0, 0.0, 0.9, 0.1, 0.0, 0.0]  # so that the path is filled up
    passed = RESIDUAL.descents(np.array([p_l, other]))
    assert named(RESIDUAL, passed[1]) == ["r", "b", "e"]
    assert named(RESIDUAL, passed[0]) == list(path.ljust(3, path[-1]))
    with np.errstate(divide="ignore"):
        assert named(RESIDUAL, RESIDUAL.greedy(np.log([p_l]))) == [path[-1]]


@pytest.mark.parametrize("seed", range(4))
def test_in_a_tree_a_term_is_its_children_and_its_residual(seed):
    rng = np.random.default_rng(seed)
    parents = [(), *((int(rng.integers(term)),) for term in range(1, 30))]  # a random tree below term 0
    internal = sorted({parent for (parent,) in parents[1:]} - {0})
    names = tuple(f"t{term:02}" for term in range(30))
    tree = OntologyCut(names, names, tuple(parents), tuple(internal[::2]))
    p_nl = rng.dirichlet(np.ones(len(tree.leaves)), 20)
    p_nt = tree.node_probabilities(np.log(p_nl))
    np.testing.assert_allclose(p_nt[:, 0], 1)
    for term in [0, *internal]:
        own_n = p_nl[:, tree.residual_leaf_t[term]] if term in tree.residuals else 0
        children = [child for child in range(30) if parents[child] == (term,)]
        np.testing.assert_allclose(p_nt[:, term], p_nt[:, children].sum(axis=1) + own_n)


@pytest.mark.parametrize("residuals", [False, True])
def test_greedy_on_the_real_ontology_equals_a_walk_of_each_cell(residuals):
    terms = ["CL:0000542", "CL:0000084", "CL:0000625", "CL:0000624", "CL:0000236", "CL:0000576", "CL:0002397"]
    real = cut(load(), terms, residuals=residuals)
    assert len(real.residuals) == 3 * residuals  # lymphocyte, T cell, monocyte
    p_nl = np.random.default_rng(2).dirichlet(np.full(len(real.leaves), 0.5), 200)
    children = [[c for c, parents in enumerate(real.parents) if t in parents] for t in range(len(real.terms))]
    expected = []
    for p_l, p_t in zip(p_nl, real.roll_up(p_nl), strict=True):
        at = real.root
        while children[at]:
            best = max(children[at], key=lambda child: (p_t[child], -child))
            if at in real.residuals and p_l[len(p_l) - 3 + real.residuals.index(at)] > p_t[best]:
                break
            at = best
        expected.append(at)
    assert real.descents(p_nl)[:, -1].tolist() == expected
    assert len(set(expected) & set(real.residuals)) == 3 * residuals


@pytest.mark.parametrize(
    "residuals", [(2,), (5,), (1, 0), (0, 0), (9,)], ids=["leaf", "root", "order", "twice", "none"]
)
def test_residual_leaves_of_other_terms_are_refused(residuals):
    with pytest.raises(WcedError, match="residual leaves are not of terms below the root that have children"):
        OntologyCut.from_json(RESIDUAL.to_json() | {"residuals": residuals})

import numpy as np
import pytest

from wced.benchmarks.lcad import links, meeting, scores
from wced.errors import WcedError
from wced.ontology import CellOntology, load

#        r
#      / | \
#     a  b  q      d has the parents a and b; q is above both e and d, too
#    / \/ \ |
#   c  d   e
#          |
#          x
PARENTS = {
    "r": (), "a": ("r",), "b": ("r",), "q": ("r",), "c": ("a",), "d": ("a", "b", "q"), "e": ("b", "q"), "x": ("e",),
}  # fmt: skip
ONTOLOGY = CellOntology("v0", {name: name for name in PARENTS}, PARENTS, {"old_c": "c"})


def lcad(*terms) -> np.ndarray:
    return links(*terms).sum(axis=1)


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        pytest.param("c", "c", ("c", 0, 0), id="exact"),
        pytest.param("c", "d", ("a", 1, 1), id="siblings"),
        pytest.param("e", "x", ("e", 0, 1), id="too fine"),
        pytest.param("x", "b", ("b", 2, 0), id="too coarse"),
        pytest.param("c", "x", ("r", 2, 3), id="only the root in common"),
        pytest.param("d", "x", ("b", 1, 2), id="of two equally deep and near ancestors the smaller id"),
    ],
)
def test_by_hand(true, predicted, expected):
    assert meeting(true, predicted, ONTOLOGY) == expected
    assert lcad([true], [predicted], ONTOLOGY).tolist() == [expected[1] + expected[2]]


def test_the_deepest_common_ancestor_counts_even_if_another_is_nearer():
    # t and s meet at m (depth 2), two links from each; over the shallow n they are one link away each.
    parents = {"r": (), "n": ("r",), "k": ("r",), "m": ("k",), "u": ("m",), "v": ("m",)}
    parents |= {"s": ("u", "n"), "t": ("v", "n")}
    ontology = CellOntology("v0", {name: name for name in parents}, parents, {})
    assert meeting("s", "t", ontology) == ("m", 2, 2)


def test_a_value_per_cell_in_their_order():
    means = lcad(["c", "x", "c", "old_c"], ["d", "b", "c", "c"], ONTOLOGY)
    assert means.tolist() == [2, 2, 0, 0]
    assert lcad([], [], ONTOLOGY).shape == (0,)


def test_t_cell_subtypes_are_nearer_than_a_t_cell_and_a_neuron():
    cd4, cd8, neuron = "CL:0000624", "CL:0000625", "CL:0000540"
    near, far = lcad([cd4, cd4], [cd8, neuron], load())
    assert 0 < near < far


def test_symmetric_and_zero_only_for_the_same_term_on_the_real_ontology():
    ontology = load()
    sample_2n = np.random.default_rng(0).choice(ontology.terms, size=(2, 200))
    forth, back = lcad(*sample_2n, ontology), lcad(*sample_2n[::-1], ontology)
    assert (forth == back).all() and ((forth == 0) == (sample_2n[0] == sample_2n[1])).all()
    for true, predicted in sample_2n.T[:50]:  # no deeper term is above both
        ancestor = meeting(true, predicted, ontology)[0]
        common = ontology.ancestors(true) & ontology.ancestors(predicted)
        assert ancestor in common
        assert ontology.depths[ancestor] == max(ontology.depths[term] for term in common)


def test_means_over_errors_and_over_all_cells():
    true, predicted = ["c"] * 6 + ["e"] * 2, ["c"] * 4 + ["d", "x"] + ["x"] * 2
    means = scores(true, predicted, ONTOLOGY, seed=0)
    assert list(means) == ["lcad_errors", "lcad", "lcad_up_errors"]
    assert means["lcad_errors"].value == pytest.approx((2 + 5 + 1 + 1) / 4)
    assert means["lcad"].value == pytest.approx(9 / 8)
    assert means["lcad_up_errors"].value == pytest.approx((1 + 2 + 0 + 0) / 4)
    assert [means[name].n for name in means] == [4, 8, 4]
    for score in means.values():
        assert score.ci_low < score.value < score.ci_high
        assert score.ci_method == "percentiles of 1000 bootstraps over cells"


def test_the_interval_is_that_of_resampled_cells():
    rng = np.random.default_rng(1)
    predicted = rng.choice(["c", "d", "x"], p=[0.7, 0.2, 0.1], size=400)
    means = scores(["c"] * 400, predicted, ONTOLOGY, seed=0)["lcad"]
    value_n = lcad(["c"] * 400, predicted, ONTOLOGY)
    half = 1.96 * value_n.std() / 20
    assert (means.ci_low, means.ci_high) == pytest.approx((value_n.mean() - half, value_n.mean() + half), abs=0.02)


def test_without_errors_their_mean_has_a_reason():
    means = scores(["c", "d"], ["c", "d"], ONTOLOGY, seed=0)
    assert means["lcad_errors"].reason == means["lcad_up_errors"].reason == "no cell is wrong"
    assert means["lcad"].value == 0


def test_labels_outside_the_ontology_are_left_out():
    """Such as two ids of one cell, `CL:… || CL:…`; the scores of all other cells stay."""
    inside = scores(["c", "c", "e"], ["d", "c", "x"], ONTOLOGY, seed=0)
    assert scores(["c", "c || d", "c", "e", "c"], ["d", "c", "c", "x", "cell line"], ONTOLOGY, seed=0) == inside
    outside = scores(["c || d"], ["c"], ONTOLOGY, seed=0)
    assert {score.reason for score in outside.values()} == {"c || d is not in the Cell Ontology v0"}


def test_bad_terms_are_refused():
    with pytest.raises(WcedError, match=r"^LCAD: nonsense is not in the Cell Ontology v0$"):
        lcad(["c"], ["nonsense"], ONTOLOGY)
    with pytest.raises(WcedError, match="1 true terms, but 2 predicted"):
        lcad(["c"], ["c", "d"], ONTOLOGY)

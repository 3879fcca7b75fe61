import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr, spearmanr

from wced.benchmarks.ontology_structure.ontorwr import agreement, centres, profiles, proximities, scores
from wced.ontology import CellOntology, load

CHAIN = CellOntology("v0", {name: name for name in "abc"}, {"a": (), "b": ("a",), "c": ("b",)}, {})


def test_proximities_on_a_chain_by_hand():
    # a – b – c, r = ½. From b: half of the time there, else at a or c alike, and from either back. With p = share at b:
    # p = ½ + ½ (1 − p), so 2/3, and 1/6 at each end. From a: x = ½ + ½ · ½ y, y = ½ (x + z), z = ½ · ½ y.
    q_kt = proximities(CHAIN, ["b", "a"], restart=0.5)
    np.testing.assert_allclose(q_kt, [[1 / 6, 2 / 3, 1 / 6], [7 / 12, 1 / 3, 1 / 12]])


def test_proximities_on_the_real_ontology_are_those_of_iterating():
    ontology = load()
    terms, restart = ["CL:0000084", "CL:0000540"], 0.7
    index = {term: i for i, term in enumerate(ontology.terms)}
    neighbours = [
        [index[other] for other in (*ontology.parents[term], *ontology.children[term])] for term in ontology.terms
    ]
    start_kt = np.zeros((2, len(index)))
    start_kt[[0, 1], [index[term] for term in terms]] = 1
    q_kt = start_kt
    for _ in range(60):
        moved_kt = np.zeros_like(q_kt)
        for i, others in enumerate(neighbours):
            for other in others:
                moved_kt[:, other] += q_kt[:, i] / len(others)
        q_kt = restart * start_kt + (1 - restart) * moved_kt
    np.testing.assert_allclose(proximities(ontology, terms, restart), q_kt, atol=1e-12)


def test_profiles_by_hand():
    q_t = np.array([1 / 6, 2 / 3, 1 / 6])
    np.testing.assert_allclose(profiles(CHAIN, ["b"], 0.5), [np.log(q_t + 1 / 9) - np.log(1 / 9)])


def test_terms_of_one_family_have_near_profiles():
    cd4, cd8, neuron = profiles(load(), ["CL:0000624", "CL:0000625", "CL:0000540"], 0.7)
    assert np.linalg.norm(cd4 - cd8) < np.linalg.norm(cd4 - neuron)


def test_centres_leave_out_a_fifth_at_either_end():
    x_nd = np.array([[0.0], [1], [2], [3], [1000], [7]])
    assert centres(x_nd, np.array(["t"] * 5 + ["u"]), ["t", "u"]).tolist() == [[2.0], [7.0]]


@pytest.mark.parametrize(("ranks", "correlation"), [(False, pearsonr), (True, spearmanr)])
def test_agreement_is_the_correlation_of_distances_to_the_others(ranks, correlation):
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(7, 3)), rng.normal(size=(7, 5))
    distance_one, distance_two = cdist(one, one), cdist(two, two)
    expected = [
        correlation(np.delete(distance_one[k], k), np.delete(distance_two[k], k)).statistic for k in range(len(one))
    ]
    np.testing.assert_allclose(agreement(one, two, ranks=ranks), expected)


TYPES = ["CL:0000084", "CL:0000236", "CL:0000540", "CL:0000235", "CL:0002062"]


def cells(points_kd, each=12):
    return np.repeat(points_kd, each, axis=0), np.repeat(TYPES, each)


def scored(x_nd, type_n, **changes):
    return scores(x_nd, type_n, load(), **{"restart": 0.7, "min_cells": 10, "seed": 0, **changes})


def test_an_embedding_that_lies_as_the_ontology_scores_one():
    result = scored(*cells(profiles(load(), TYPES, 0.7)))
    for name in ("scgraph_ontorwr", "scgraph_ontorwr_rank"):
        assert result[name].value == pytest.approx(1) and result[name].n == 60
        assert (result[name].ci_low, result[name].ci_high) == pytest.approx((1, 1))


def test_the_score_is_the_mean_over_types_and_its_interval_holds_it():
    x_nd, type_n = cells(np.random.default_rng(0).normal(size=(5, 4)))
    result = scored(x_nd, type_n)["scgraph_ontorwr"]
    order = sorted(TYPES)  # types are taken in the order of their ids
    each = agreement(centres(x_nd, type_n, order), profiles(load(), order, 0.7), ranks=False)
    assert result.value == pytest.approx(each.mean())
    assert each.min() <= result.ci_low < result.value < result.ci_high <= each.max()


def test_small_types_are_left_out():
    x_nd, type_n = cells(np.random.default_rng(0).normal(size=(5, 4)))
    assert scored(x_nd[3:], type_n[3:])["scgraph_ontorwr"].n == 48  # the first type has 9 cells left
    reasons = {score.reason for score in scored(x_nd[:24], type_n[:24]).values()}
    assert reasons == {"2 cell types have 10 cells or more; 4 are needed"}


def test_a_collapsed_embedding_has_a_reason():
    result = scored(*cells(np.zeros((5, 2))))
    assert result["scgraph_ontorwr"].reason == "a cell type is equally far from all others"

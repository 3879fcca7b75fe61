import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from wced.benchmarks.label_scores import LabelScores


@given(st.lists(st.tuples(*[st.sampled_from("abcd")] * 3), min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_values_are_those_of_scikit_learn(cells):
    true, first, second = (np.array(labels) for labels in zip(*cells, strict=True))
    scores = LabelScores(true, {"first": first, "second": second}, seed=0)
    for name, labels in (("first", first), ("second", second)):
        assert scores.accuracy(name).value == pytest.approx(accuracy_score(true, labels))
        for average in ("macro", "weighted"):
            value = f1_score(true, labels, average=average, zero_division=0)
            found = scores.f1(name, average)
            assert found.value == pytest.approx(value)
            assert 0 <= found.ci_low <= found.ci_high <= 1
    gain = scores.gain("first", "second", "macro").value
    assert gain == pytest.approx(scores.f1("first", "macro").value - scores.f1("second", "macro").value)


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(5)
    true = rng.choice(list("abc"), 200, p=[0.6, 0.3, 0.1])
    first = np.where(rng.random(200) < 0.8, true, rng.choice(list("abc"), 200))
    second = np.where(rng.random(200) < 0.1, "a", first)
    return true, first, second


def test_intervals_are_those_of_resampling_cells(labels):
    true, first, second = labels
    rng, drawn = np.random.default_rng(1), []
    for _ in range(1000):
        chosen = rng.integers(0, 200, 200)
        both = [f1_score(true[chosen], given[chosen], average="macro") for given in (first, second)]
        drawn.append([*both, both[0] - both[1]])
    scores = LabelScores(true, {"first": first, "second": second}, seed=2)
    found = [scores.f1("first", "macro"), scores.f1("second", "macro"), scores.gain("first", "second", "macro")]
    expected = np.percentile(drawn, [2.5, 97.5], axis=0).T
    np.testing.assert_allclose([[score.ci_low, score.ci_high] for score in found], expected, atol=0.015)
    alike = scores.gain("first", "first", "macro")  # paired: cells drawn for one are drawn for the other
    assert (alike.value, alike.ci_low, alike.ci_high) == (0, 0, 0)


def test_wilson_by_hand():
    accuracy = LabelScores(np.array(list("aaaaaaaaab")), {"m": np.array(list("aaaaaaaaaa"))}, seed=0).accuracy("m")
    assert (accuracy.value, accuracy.ci_method) == (0.9, "Wilson")
    assert (accuracy.ci_low, accuracy.ci_high) == pytest.approx((0.5958, 0.9821), abs=1e-4)


def test_a_seed_gives_the_same_intervals(labels):
    true, first, _ = labels
    one, other = (LabelScores(true, {"m": first}, seed=seed).f1("m", "macro") for seed in (3, 3))
    assert one == other
    assert LabelScores(true, {"m": first}, seed=4).f1("m", "macro") != one

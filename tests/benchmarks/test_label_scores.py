import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from wced.benchmarks.label_scores import label_scores


@given(st.lists(st.tuples(*[st.sampled_from("abcd")] * 3), min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_values_are_those_of_scikit_learn(cells):
    true, first, second = (np.array(labels) for labels in zip(*cells, strict=True))
    scores = label_scores(true, {"first": first, "second": second}, seed=0, reference="second")
    for name, labels in (("first", first), ("second", second)):
        assert scores[f"accuracy_{name}"].value == pytest.approx(accuracy_score(true, labels))
        for average in ("macro", "weighted"):
            score = scores[f"{average}_f1_{name}"]
            assert score.value == pytest.approx(f1_score(true, labels, average=average, zero_division=0))
            assert 0 <= score.ci_low <= score.ci_high <= 1
    gain = scores["gain_macro_f1_first"].value
    assert gain == pytest.approx(scores["macro_f1_first"].value - scores["macro_f1_second"].value)


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(5)
    true = rng.choice(list("abc"), 200, p=[0.6, 0.3, 0.1])
    first = np.where(rng.random(200) < 0.8, true, rng.choice(list("abc"), 200))
    second = np.where(rng.random(200) < 0.1, "a", first)
    return true, first, second


def test_intervals_are_those_of_resampling_cells(labels):
    true, first, second = labels
    rng, samples = np.random.default_rng(1), []
    for _ in range(1000):
        cells = rng.integers(0, 200, 200)
        both = [f1_score(true[cells], predicted[cells], average="macro") for predicted in (first, second)]
        samples.append([*both, both[0] - both[1]])
    scores = label_scores(true, {"first": first, "second": second}, seed=2, reference="second")
    intervals = [scores[name] for name in ("macro_f1_first", "macro_f1_second", "gain_macro_f1_first")]
    expected = np.percentile(samples, [2.5, 97.5], axis=0).T
    np.testing.assert_allclose([[score.ci_low, score.ci_high] for score in intervals], expected, atol=0.015)
    alike = scores["gain_macro_f1_second"]  # paired: cells sampled for one are sampled for the other
    assert (alike.value, alike.ci_low, alike.ci_high) == (0, 0, 0)


def test_wilson_by_hand():
    accuracy = label_scores(np.array(list("aaaaaaaaab")), {"m": np.array(list("aaaaaaaaaa"))}, seed=0)["accuracy_m"]
    assert (accuracy.value, accuracy.ci_method) == (0.9, "Wilson")
    assert (accuracy.ci_low, accuracy.ci_high) == pytest.approx((0.5958, 0.9821), abs=1e-4)


def test_a_seed_gives_the_same_intervals(labels):
    true, first, _ = labels
    one, same, other = (label_scores(true, {"m": first}, seed=seed)["macro_f1_m"] for seed in (3, 3, 4))
    assert one == same != other

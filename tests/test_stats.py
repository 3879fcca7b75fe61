import numpy as np
import pytest
from scipy import stats

from wced.benchmarks.scib import group_means
from wced.stats import (
    CELL_SAMPLES,
    Score,
    adjusted,
    bootstrap_weights,
    outcome,
    outcome_of,
    over_cells,
    standard_errors,
)


def test_weights_are_samples_with_replacement():
    weight_sn = bootstrap_weights(500, seed=1)
    assert weight_sn.shape == (CELL_SAMPLES, 500) and (weight_sn.sum(axis=1) == 500).all()
    np.testing.assert_array_equal(weight_sn, bootstrap_weights(500, seed=1))
    assert (weight_sn != bootstrap_weights(500, seed=2)).any()
    # How often a cell is sampled is nearly Poisson: 1 / e of the cells are in no sample.
    assert (weight_sn == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)


def test_interval_has_the_standard_error_of_a_mean():
    value_n = np.random.default_rng(0).normal(size=2000)
    sampled_s = group_means(value_n, np.zeros(2000, int), bootstrap_weights(2000, 0))
    score = over_cells(value_n.mean(keepdims=True), sampled_s)
    assert (score.ci_low + score.ci_high) / 2 == pytest.approx(value_n.mean())
    assert (score.ci_high - score.ci_low) / 2 == pytest.approx(1.96 * value_n.std() / np.sqrt(2000), rel=0.15)
    assert "200 bootstraps" in score.ci_method


def test_interval_of_several_seeds_has_both_variances():
    value_c, sampled_s = np.array([0.4, 0.5, 0.45, 0.55]), np.random.default_rng(0).normal(0.5, 0.02, size=CELL_SAMPLES)
    score = over_cells(value_c, sampled_s)
    cells, seeds = sampled_s.var(ddof=1), value_c.var(ddof=1) / 4
    freedom = (cells + seeds) ** 2 / (seeds**2 / 3)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(cells + seeds)
    assert (score.value, score.ci_low, score.ci_high) == pytest.approx((0.475, 0.475 - half, 0.475 + half))
    assert score.ci_method.endswith("4 seeds of the clustering")
    alike = over_cells(np.full(4, 0.5), sampled_s)  # seeds that agree add nothing
    assert alike.ci_high - alike.value == pytest.approx(1.96 * sampled_s.std(ddof=1), rel=1e-3)


def test_interval_over_few_seeds_holds_the_true_mean_19_times_in_20():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(2000):
        value_c = rng.normal(0.3, size=5)  # the seeds' spread outweighs that of the cells
        score = over_cells(value_c, rng.normal(0, 0.05, size=CELL_SAMPLES))
        held.append(score.ci_low < 0.3 < score.ci_high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("bounds", "freedom", "ends"),
    [
        pytest.param((-np.inf, np.inf), None, (0.9 - 0.196, 0.9 + 0.196), id="normal"),
        pytest.param((0.0, 1.0), None, (0.9 - 0.196, 1.0), id="cut"),
        pytest.param((-np.inf, np.inf), 2, (0.9 - 0.43027, 0.9 + 0.43027), id="t"),
    ],
)
def test_standard_errors_by_hand(bounds, freedom, ends):
    score = standard_errors(0.9, 0.1, "how", freedom=freedom, bounds=bounds, n=3)
    assert (score.ci_low, score.ci_high) == pytest.approx(ends, abs=1e-5)
    assert (score.value, score.ci_method, score.n) == (0.9, "how", 3)


def test_corrections_leave_out_what_is_no_test():
    p = [0.01, np.nan, 0.04, 0.03]
    np.testing.assert_allclose(adjusted(p, "holm"), [0.03, np.nan, 0.06, 0.06])
    np.testing.assert_allclose(adjusted(p, "fdr_bh"), [0.03, np.nan, 0.04, 0.04])
    assert np.isnan(adjusted([np.nan], "holm")).all() and len(adjusted([], "fdr_bh")) == 0


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.2, "tie"), (0, 0, "tie"), (np.nan, 1, "unknown")],
)
def test_a_difference_is_one_where_its_interval_leaves_out_zero(low, high, expected):
    assert outcome(low, high) == expected
    assert outcome_of(Score(0.5, 0.3 + low, 0.3 + high), Score(0.3, 0.3, 0.3)) == expected
    # Values whose intervals touch are a tie.
    assert outcome_of(Score(0.6, 0.5, 0.7), Score(0.4, 0.25, 0.5)) == "tie"

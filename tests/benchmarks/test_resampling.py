import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from wced.benchmarks.resampling import DRAWS, agreement, cell_weights, group_means, interval


@pytest.fixture(scope="module")
def drawn():
    """Labels, clusters and values of 40 cells, and weights of them."""
    rng = np.random.default_rng(0)
    label_n = rng.integers(4, size=40)
    cluster_n = np.where(rng.random(40) < 0.7, label_n, rng.integers(6, size=40))
    return label_n, cluster_n, rng.random(40), cell_weights(40, seed=2)


def test_weights_are_draws_with_replacement():
    weight_sn = cell_weights(500, seed=1)
    assert weight_sn.shape == (DRAWS, 500) and (weight_sn.sum(axis=1) == 500).all()
    np.testing.assert_array_equal(weight_sn, cell_weights(500, seed=1))
    assert (weight_sn != cell_weights(500, seed=2)).any()
    # The number of times that a cell is drawn is nearly Poisson: 1 / e of the cells are in no draw.
    assert (weight_sn == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)


def test_agreement_is_that_of_scikit_learn_on_the_drawn_cells(drawn):
    label_n, cluster_n, _, weight_sn = drawn
    nmi_s, ari_s = agreement(label_n, cluster_n, weight_sn)
    for weight_n, nmi, ari in zip(weight_sn, nmi_s, ari_s, strict=True):
        cells = np.repeat(np.arange(40), weight_n.astype(int))
        assert nmi == pytest.approx(normalized_mutual_info_score(label_n[cells], cluster_n[cells]), abs=1e-12)
        assert ari == pytest.approx(adjusted_rand_score(label_n[cells], cluster_n[cells]), abs=1e-12)


def test_agreement_of_one_cluster_with_one_label():
    nmi_s, ari_s = agreement(np.zeros(5, int), np.zeros(5, int), cell_weights(5, 0))
    assert (nmi_s == 1).all() and (ari_s == 1).all()


def test_group_means_by_hand(drawn):
    label_n, _, value_n, weight_sn = drawn
    group_n = np.where(label_n == 3, -1, label_n)  # the last group is of no interest
    for weight_n, mean in zip(weight_sn, group_means(value_n, group_n, weight_sn), strict=True):
        parts = [np.average(value_n[group_n == g], weights=weight_n[group_n == g]) for g in range(3)]
        assert mean == pytest.approx(np.mean(parts))


def test_a_group_that_a_draw_lacks_is_left_out_of_it():
    means = group_means(np.array([1.0, 3.0]), np.array([0, 1]), np.array([[1, 1], [2, 0], [0, 2]]))
    assert means.tolist() == [2, 1, 3]


def test_interval_has_the_standard_error_of_a_mean():
    value_n = np.random.default_rng(0).normal(size=2000)
    made = interval(value_n.mean(keepdims=True), group_means(value_n, np.zeros(2000, int), cell_weights(2000, 0)))
    assert (made.ci_low + made.ci_high) / 2 == pytest.approx(value_n.mean())
    assert (made.ci_high - made.ci_low) / 2 == pytest.approx(1.96 * value_n.std() / np.sqrt(2000), rel=0.15)
    assert "200 bootstraps" in made.ci_method


def test_interval_of_several_seeds_has_both_variances():
    value_c, drawn_s = np.array([0.4, 0.5, 0.45, 0.55]), np.random.default_rng(0).normal(0.5, 0.02, size=DRAWS)
    made = interval(value_c, drawn_s)
    cells, seeds = drawn_s.var(ddof=1), value_c.var(ddof=1) / 4
    freedom = (cells + seeds) ** 2 / (seeds**2 / 3)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(cells + seeds)
    assert (made.value, made.ci_low, made.ci_high) == pytest.approx((0.475, 0.475 - half, 0.475 + half))
    assert made.ci_method.endswith("4 seeds of the clustering")
    alike = interval(np.full(4, 0.5), drawn_s)  # seeds that agree add nothing
    assert alike.ci_high - alike.value == pytest.approx(1.96 * drawn_s.std(ddof=1), rel=1e-3)


def test_interval_over_few_seeds_holds_the_true_mean_19_times_in_20():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(2000):
        value_c = rng.normal(0.3, size=5)  # the seeds' spread outweighs that of the cells
        made = interval(value_c, rng.normal(0, 0.05, size=DRAWS))
        held.append(made.ci_low < 0.3 < made.ci_high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)

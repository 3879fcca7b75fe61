import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from wced.benchmarks.scib import agreement, group_means
from wced.stats import bootstrap_weights


@pytest.fixture(scope="module")
def cells_of():
    """Labels, clusters and values of 40 cells, and weights of them."""
    rng = np.random.default_rng(0)
    label_n = rng.integers(4, size=40)
    cluster_n = np.where(rng.random(40) < 0.7, label_n, rng.integers(6, size=40))
    return label_n, cluster_n, rng.random(40), bootstrap_weights(40, seed=2)


def test_agreement_is_that_of_scikit_learn_on_the_drawn_cells(cells_of):
    label_n, cluster_n, _, weight_sn = cells_of
    nmi_s, ari_s = agreement(label_n, cluster_n, weight_sn)
    for weight_n, nmi, ari in zip(weight_sn, nmi_s, ari_s, strict=True):
        cells = np.repeat(np.arange(40), weight_n.astype(int))
        assert nmi == pytest.approx(normalized_mutual_info_score(label_n[cells], cluster_n[cells]), abs=1e-12)
        assert ari == pytest.approx(adjusted_rand_score(label_n[cells], cluster_n[cells]), abs=1e-12)


def test_agreement_of_one_cluster_with_one_label():
    nmi_s, ari_s = agreement(np.zeros(5, int), np.zeros(5, int), bootstrap_weights(5, 0))
    assert (nmi_s == 1).all() and (ari_s == 1).all()


def test_group_means_by_hand(cells_of):
    label_n, _, value_n, weight_sn = cells_of
    group_n = np.where(label_n == 3, -1, label_n)  # the last group is of no interest
    for weight_n, mean in zip(weight_sn, group_means(value_n, group_n, weight_sn), strict=True):
        parts = [np.average(value_n[group_n == g], weights=weight_n[group_n == g]) for g in range(3)]
        assert mean == pytest.approx(np.mean(parts))


def test_a_group_that_a_draw_lacks_is_left_out_of_it():
    means = group_means(np.array([1.0, 3.0]), np.array([0, 1]), np.array([[1, 1], [2, 0], [0, 2]]))
    assert means.tolist() == [2, 1, 3]

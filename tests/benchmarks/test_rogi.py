import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from wced.benchmarks.ontology_structure.rogi import dispersion, roughness, scores, tree
from wced.stats import bootstrap_weights


def one_hot(labels):
    return np.eye(len(np.unique(labels)))[np.unique(labels, return_inverse=True)[1]]


def test_by_hand():
    # Cells at 0, 1 and 10, of types A, A, B: the As are joined at 0.1 of the range, all at 1.
    # One-hot properties; σ² = ⅔·⅓·2 = 4/9 for three clusters and for {AA}, {B}; 0 for one.
    cluster_nl, threshold_l = tree(np.array([[0.0], [1], [10]]))
    assert threshold_l.tolist() == [0, 0.1, 1]
    assert [len(set(level)) for level in cluster_nl.T] == [3, 2, 1]
    sigma_bl = dispersion(cluster_nl, one_hot(["A", "A", "B"]), np.ones((1, 3)))
    np.testing.assert_allclose(sigma_bl, [[2 / 3, 2 / 3, 0]])
    # σ/σ(0) is 1 up to 0.1 and falls to 0 at 1: 0.1 + 0.45, so that the roughness is 0.45.
    np.testing.assert_allclose(roughness(sigma_bl, threshold_l), [0.45])
    # By the logarithm of the number of clusters: 1 up to 1 − log 2 / log 3, then to 0.
    result = scores(np.array([[0.0], [1], [10]]), {"label": one_hot(["A", "A", "B"])}, seed=0)
    assert result["rogi_label"].value == pytest.approx(0.45)
    assert result["rogi_xd_label"].value == pytest.approx(np.log(2) / np.log(3) / 2)


def test_mixed_neighbours_by_hand():
    # The pair that is joined first is now A and B: σ² = Σ w ‖ȳ_c − ȳ‖² = ⅔ · (½ − ⅔)² · 2 + ⅓ · (1 − ⅔)² · 2 = 1/9.
    cluster_nl, _ = tree(np.array([[0.0], [1], [10]]))
    sigma_bl = dispersion(cluster_nl, one_hot(["A", "B", "A"]), np.ones((1, 3)))
    np.testing.assert_allclose(sigma_bl, [[2 / 3, 1 / 3, 0]])


def published(x_nd, y_n, domain):
    """ROGI of the published package, with a step at every threshold."""
    scaled = pdist(x_nd) / np.sqrt((np.ptp(x_nd, axis=0) ** 2).sum())
    joined = linkage(scaled, "complete")
    thresholds, sigma, clusters = [0.0], [2 * y_n.std()], [len(y_n)]
    for threshold in joined[:, 2]:
        labels = fcluster(joined, threshold, "distance")
        means = np.array([y_n[labels == label].mean() for label in labels])
        thresholds.append(threshold)
        sigma.append(2 * means.std())
        clusters.append(len(set(labels)))
    x = np.array([*thresholds, 1.0])
    if domain == "log clusters":
        x = 1 - np.log([*clusters, 1]) / np.log(len(y_n))
    return sigma[0] - np.trapezoid([*sigma, 0.0], x)


def test_of_two_equally_frequent_labels_it_is_the_published_index():
    rng = np.random.default_rng(3)
    y_n = np.repeat([0.0, 1.0], 20)
    x_nd = rng.normal(size=(40, 3)) + y_n[:, None]
    result = scores(x_nd, {"label": one_hot(y_n)}, seed=0)
    cluster_nl, threshold_l = tree(x_nd, levels=2000)  # every number of clusters
    sigma_bl = dispersion(cluster_nl, one_hot(y_n), np.ones((1, 40)))
    whole = roughness(sigma_bl, threshold_l)[0]
    assert cluster_nl.shape[1] == 40
    assert whole == pytest.approx(published(x_nd, y_n, "distance"))
    xd = roughness(sigma_bl, 1 - np.log(np.arange(40, 0, -1)) / np.log(40))[0]
    assert xd == pytest.approx(published(x_nd, y_n, "log clusters"))
    assert (result["rogi_label"].value, result["rogi_xd_label"].value) == pytest.approx((whole, xd), abs=0.02)


def test_dispersion_of_weighted_cells_is_that_of_repeated_ones():
    rng = np.random.default_rng(0)
    x_nd, property_nd = rng.normal(size=(30, 2)), rng.normal(size=(30, 4))
    cluster_nl, _ = tree(x_nd, levels=8)
    weight_bn = bootstrap_weights(30, 0)[:25]
    found_bl = dispersion(cluster_nl, property_nd, weight_bn)
    for weight_n, found_l in zip(weight_bn, found_bl, strict=True):
        again = np.repeat(np.arange(30), weight_n.astype(int))
        for level, result in enumerate(found_l):
            cluster_n = cluster_nl[again, level]
            mean_nd = np.stack([property_nd[again][cluster_n == cluster].mean(axis=0) for cluster in cluster_n])
            expected = np.sqrt(((mean_nd - mean_nd.mean(axis=0)) ** 2).sum(axis=1).mean())
            assert result == pytest.approx(expected, abs=1e-12)


def test_separate_types_are_smoother_than_mixed_ones_and_intervals_say_so():
    rng = np.random.default_rng(0)
    labels = np.repeat(list("ABCD"), 40)
    apart = 8 * np.eye(4)[np.repeat(np.arange(4), 40)] + rng.normal(size=(160, 4))
    smooth = scores(apart, {"label": one_hot(labels)}, seed=0)["rogi_xd_label"]
    rough = scores(apart, {"label": one_hot(rng.permutation(labels))}, seed=0)["rogi_xd_label"]
    assert smooth.ci_low < smooth.value < smooth.ci_high < rough.ci_low < rough.value < 1


def test_equal_cells_are_joined_at_once():
    cluster_nl, threshold_l = tree(np.array([[0.0], [0.0], [0.0], [5.0]]))
    assert threshold_l.tolist() == [0, 0, 0, 1] and len(set(cluster_nl[:, 2])) == 2


def test_what_cannot_be_computed_has_a_reason():
    same = scores(np.ones((5, 2)), {"label": one_hot(list("ABABA"))}, seed=0)
    assert {score.reason for score in same.values()} == {"the embedding has fewer than two different cells"}
    one_type = scores(np.arange(5.0)[:, None], {"label": np.ones((5, 1))}, seed=0)
    assert {score.reason for score in one_type.values()} == {"all cells are of one type"}

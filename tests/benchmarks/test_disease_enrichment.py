from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from wced.benchmarks.disease_subtype.enrichment import donor_test, enrichment, explained, signature

VAR = pd.DataFrame({"feature_name": ["A", "B", "C", "D", "A"]}, index=[f"ENSG{i}" for i in range(5)])


def test_signature_by_brute_force():
    counts_ng = np.random.default_rng(0).poisson(3, (20, 5)).astype(np.float32)
    counts_ng[:, 3] = 0
    signature_n, used = signature(sparse.csr_matrix(counts_ng), VAR, ["A", "ENSG1", "none"], ["C", "D"])
    x_ng = np.log1p(1e4 * counts_ng.astype(np.float64) / counts_ng.sum(axis=1, keepdims=True))
    z_ng = (x_ng - x_ng.mean(axis=0)) / np.maximum(x_ng.std(axis=0), 1e-300)
    np.testing.assert_allclose(signature_n, (z_ng[:, 0] + z_ng[:, 1]) / 2 - z_ng[:, 2], atol=1e-9)
    assert used == ["A", "ENSG1", "C"]


@pytest.mark.parametrize(("up", "down", "sign"), [(["B"], [], 1), ([], ["B"], -1), (["B"], ["D"], 1)])
def test_one_sided_signatures(up, down, sign):
    counts_ng = sparse.csr_matrix(np.array([[1, 9, 0, 0, 0], [5, 5, 0, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(signature(counts_ng, VAR, up, down)[0], [sign, -sign])


def test_a_signature_of_no_marker():
    assert signature(sparse.csr_matrix(np.ones((3, 5), dtype=np.float32)), VAR, ["A"], ["none"])[1] == []


def test_clusters_by_hand():
    """Cluster 0: 8 of 10 cells are cases; cluster 1: 2 of 10."""
    cluster_n = np.repeat([0, 1], 10)
    case_n = np.array([True] * 8 + [False] * 2 + [True] * 2 + [False] * 8)
    score_n = np.arange(20.0)
    table, _, reason = enrichment(cluster_n, score_n, case_n, np.full(20, ""), seed=0)
    first = table.iloc[0]
    assert (first["cells"], first["cases"], first["case_share"]) == (10, 8, 0.8)
    assert (first["share_of_cases"], first["share_of_controls"]) == (0.8, 0.2)
    assert first["signature"] == 4.5 and first["signature_se"] == pytest.approx(np.std(score_n[:10], ddof=1) / 10**0.5)
    odds = (8.5 * 8.5) / (2.5 * 2.5)
    half = 1.96 * np.sqrt(2 / 8.5 + 2 / 2.5)
    assert first["odds_ratio"] == pytest.approx(odds)
    assert (first["odds_low"], first["odds_high"]) == pytest.approx((odds * np.exp(-half), odds * np.exp(half)))
    # Hypergeometric: 8, 9 or 10 of 10, and as many the other way.
    p = 2 * (45 * 45 + 10 * 10 + 1) / 184_756
    np.testing.assert_allclose(table["p_cells"], p)
    np.testing.assert_allclose(table["q_cells"], p)
    assert table["p_donors"].isna().all() and reason == "the donor of 20 of 20 cells is not known"


def test_a_cluster_without_controls_has_finite_odds():
    table, *_ = enrichment(np.array([0, 0, 1, 1]), np.zeros(4), np.array([1, 1, 0, 0], bool), np.full(4, ""), seed=0)
    assert np.isfinite(table[["odds_ratio", "odds_low", "odds_high"]]).all(axis=None)


def samples(shares, cells=10):
    """Cells of donors, of which a share lies in cluster 1; `shares` maps (donor, case) to the share."""
    cluster, case, donor = [], [], []
    for (name, is_case), share in shares.items():
        inside = round(share * cells)
        cluster += [1] * inside + [0] * (cells - inside)
        case += [is_case] * cells
        donor += [name] * cells
    return np.array(cluster), np.array(case), np.array(donor)


def test_donors_are_permuted():
    cases, controls = [0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.7]
    shares = {(f"p{i}", True): share for i, share in enumerate(cases)}
    shares |= {(f"c{i}", False): share for i, share in enumerate(controls)}
    p_c, n, _ = donor_test(*samples(shares), seed=0)
    pool, seen = np.array(cases + controls), np.mean(cases) - np.mean(controls)
    ways = [pool[list(chosen)].sum() / 4 - (pool.sum() - pool[list(chosen)].sum()) / 4
            for chosen in combinations(range(8), 4)]  # fmt: skip
    expected = 2 * np.mean(np.array(ways) >= seen - 1e-12)
    assert n == 8 and p_c == pytest.approx([expected, expected])  # the other cluster holds the rest


def test_within_donors_that_are_both_the_kinds_are_swapped():
    differences = [0.5, 0.4, 0.3, -0.1, 0.2]
    shares = {(f"d{i}", True): 0.4 + d for i, d in enumerate(differences)}
    shares |= {(f"d{i}", False): 0.4 for i in range(5)}
    p_c, n, _ = donor_test(*samples(shares), seed=0)
    ways = [np.mean(np.multiply(differences, signs)) for signs in product([1, -1], repeat=5)]
    assert n == 10
    assert p_c[1] == pytest.approx(2 * np.mean(np.array(ways) >= np.mean(differences) - 1e-12))


def test_many_cells_of_few_donors_prove_nothing():
    """The cells alone say p < 1e-20; of two donors each, no permutation is rarer than one in three."""
    shares = {("a", True): 1.0, ("b", True): 1.0, ("c", False): 0.0, ("d", False): 0.0}
    cluster_n, case_n, donor_n = samples(shares, cells=50)
    table, *_ = enrichment(cluster_n, np.zeros(200), case_n, donor_n, seed=0)
    assert (table["p_cells"] < 1e-20).all()
    np.testing.assert_allclose(table["p_donors"], 1 / 3)
    assert table["donors"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({("a", True): 0.5, ("b", False): 0.5, ("c", False): 0.1}, "1 samples of cases and 2 of controls"),
        ({("a", True): 0.5, ("a", False): 0.5, ("c", False): 0.1}, "1 donors are both case and control and others"),
        ({("a", True): 0.5, ("", False): 0.5}, "the donor of 10 of 20 cells is not known"),
    ],
    ids=["one case", "some are both", "unknown"],
)
def test_what_donors_cannot_tell(shares, words):
    p_c, _, reason = donor_test(*samples(shares), seed=0)
    assert np.isnan(p_c).all() and words in reason


def test_explained_variance():
    rng = np.random.default_rng(0)
    cluster_n = np.repeat([0, 1, 2], 100)
    score_n = cluster_n + rng.normal(size=300)
    eta = explained(score_n, cluster_n, seed=0)
    mean = score_n.mean()
    between = sum(100 * (score_n[cluster_n == c].mean() - mean) ** 2 for c in range(3))
    assert eta.value == pytest.approx(between / np.sum((score_n - mean) ** 2))
    assert eta.ci_low < eta.value < eta.ci_high and eta.ci_high - eta.ci_low < 0.3
    assert explained(cluster_n * 1.0, cluster_n, seed=0).value == pytest.approx(1)

import numpy as np
import pytest
from scipy.stats import fisher_exact, mannwhitneyu
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.proportion import proportion_confint

from learnability.conftest import SECTION, rows_of
from wced.learnability.enrichment import _permuted, enrichment
from wced.stats import exact_odds, odds_ratio


def identity_row(analysis, regime="all", against="unassigned"):
    rows = rows_of(analysis, "learnability_enrichment", "w", regime=regime, group="identity", against=against)
    assert len(rows) == 1
    return rows.iloc[0]


def test_odds_ratio_by_hand():
    assert odds_ratio(10, 100, 5, 200) == pytest.approx((10 / 90) / (5 / 195))
    assert odds_ratio(0, 10, 5, 20) == 0
    np.testing.assert_array_equal(odds_ratio(np.array([1, 0]), 10, np.array([0, 0]), 10), [np.inf, np.nan])


@pytest.mark.parametrize("regime", ["all", "sparse", "dense"])
def test_statistics_are_those_of_statsmodels_and_scipy(analysis, regime):
    genes = rows_of(analysis, "gene_learnability", "w", **({} if regime == "all" else {"regime": regime}))
    genes = genes[genes["call"] != "not judged"]
    group, against = (genes[genes["program"] == program] for program in ("identity", "unassigned"))
    winners, winners_against = ((part["call"] == "winner").sum() for part in (group, against))
    table = np.array([[winners, len(group) - winners], [winners_against, len(against) - winners_against]])
    row = identity_row(analysis, regime)
    counts = ["genes", "winners", "genes_against", "winners_against"]
    assert row[counts].tolist() == [len(group), winners, len(against), winners_against]
    assert row["odds_ratio"] == pytest.approx(Table2x2(table).oddsratio)
    assert row["fisher_p"] == pytest.approx(fisher_exact(table).pvalue)
    assert row[["rate_low", "rate_high"]].tolist() == pytest.approx(
        proportion_confint(winners, len(group), method="wilson")
    )
    assert row["mann_whitney_p"] == pytest.approx(mannwhitneyu(group["z"], against["z"]).pvalue)
    assert row["median_z"] == pytest.approx(group["z"].median())
    assert row["ci_low"] < row["odds_ratio"] < row["ci_high"]


def test_exact_intervals_of_large_tables_are_near_those_of_statsmodels():
    table = np.array([[300, 2700], [500, 11_000]])
    odds, _ = exact_odds(table)
    assert (odds.ci_low, odds.ci_high) == pytest.approx(Table2x2(table).oddsratio_confint(), rel=0.01)
    assert odds.value == pytest.approx((300 / 2700) / (500 / 11_000))


def test_planted_identity_winners_are_enriched_and_shuffled_labels_are_not(analysis):
    row = identity_row(analysis)
    assert row["odds_ratio"] > 3 and row["fisher_q"] < 1e-6 and row["permuted_p"] < 0.05
    assert row["blocks_low"] > 1.5
    assert row["permuted_low"] < 1 < row["permuted_high"] < row["odds_ratio"]
    assert row["permuted"] == pytest.approx(1, abs=0.15)


def test_moved_labels_of_genes_give_the_same_odds_ratios_as_sampled_numbers():
    rng = np.random.default_rng(0)
    sampled = _permuted(np.array([[30, 370], [60, 540]]), 20_000, rng)
    winner = np.arange(1000) < 90
    counts = np.array([rng.permutation(winner)[:400].sum() for _ in range(4000)])
    odds = odds_ratio(counts, 400, 90 - counts, 600)
    ends = np.quantile(odds, (0.025, 0.5, 0.975))
    np.testing.assert_allclose([sampled[f"permuted{end}"] for end in ("_low", "", "_high")], ends, rtol=0.06)
    two_sided = 2 * min((counts <= 30).mean(), (counts >= 30).mean())
    assert sampled["permuted_p"] == pytest.approx(two_sided, abs=0.03)


def test_q_values_are_benjamini_hochberg_within_axis_and_regime(analysis):
    part = rows_of(analysis, "learnability_enrichment", "w", regime="all", axis="program")
    p = part["fisher_p"].dropna().sort_values()
    # q of rank i is the smallest p_j n / j with j from i on.
    q = np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1)).to_numpy()[::-1])[::-1]
    np.testing.assert_allclose(part.loc[p.index, "fisher_q"], q)


def test_identity_is_compared_with_dissociation_and_families_with_all_others(analysis):
    row = identity_row(analysis, against="dissociation")
    assert row["winners_against"] + row["winners"] > 0
    judged = (rows_of(analysis, "gene_learnability", "w")["call"] != "not judged").sum()
    families = rows_of(analysis, "learnability_enrichment", "w", regime="all", axis="family")
    assert (families["genes"] + families["genes_against"] == judged).all()
    assert families["genes"].sum() == judged


def test_small_groups_and_groups_without_winners_have_reasons(analysis):
    rows = enrichment(analysis.models[0], SECTION.model_copy(update={"min_group": 10_000}), "", 0)
    assert rows["odds_ratio"].isna().all() and rows["reason"].str.contains("fewer than 10000").all()
    assert rows["winner_rate"].notna().any()
    rows = enrichment(analysis.models[1], SECTION.model_copy(update={"min_group": 1}), "identity", 0)
    assert (rows["proxies"] == rows["axis"].map({"program": "identity", "family": ""})).all()
    assert (rows["odds_ratio"].isna() == (rows["reason"] != "")).all()

import numpy as np
import pytest

from learnability.conftest import SECTION
from wced.learnability.enrichment import _permuted, enrichment
from wced.stats import exact_odds, odds_ratio


def row(found, **wanted):
    rows = found.tables["learnability_enrichment"]
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_odds_ratio_by_hand():
    assert odds_ratio(10, 100, 5, 200) == pytest.approx((10 / 90) / (5 / 195))
    assert odds_ratio(0, 10, 5, 20) == 0
    np.testing.assert_array_equal(odds_ratio(np.array([1, 0]), 10, np.array([0, 0]), 10), [np.inf, np.nan])


@pytest.mark.parametrize("regime", ["all", "sparse", "dense"])
def test_statistics_are_those_of_statsmodels_and_scipy(found, regime):
    from scipy.stats import fisher_exact, mannwhitneyu
    from statsmodels.stats.contingency_tables import Table2x2
    from statsmodels.stats.proportion import proportion_confint

    genes = found.tables["gene_learnability"]
    genes = genes[(genes["checkpoint"] == "w") & (genes["call"] != "not judged")]
    if regime != "all":
        genes = genes[genes["regime"] == regime]
    group, against = (genes[genes["program"] == program] for program in ("identity", "unassigned"))
    winners, winners_against = ((part["call"] == "winner").sum() for part in (group, against))
    table = np.array([[winners, len(group) - winners], [winners_against, len(against) - winners_against]])
    it = row(found, checkpoint="w", regime=regime, axis="program", group="identity", against="unassigned")
    assert (it["genes"], it["winners"], it["genes_against"], it["winners_against"]) == (
        len(group), winners, len(against), winners_against,
    )  # fmt: skip
    assert it["odds_ratio"] == pytest.approx(Table2x2(table).oddsratio)
    assert it["fisher_p"] == pytest.approx(fisher_exact(table).pvalue)
    assert (it["rate_low"], it["rate_high"]) == pytest.approx(proportion_confint(winners, len(group), method="wilson"))
    assert it["mann_whitney_p"] == pytest.approx(mannwhitneyu(group["z"], against["z"]).pvalue)
    assert it["median_z"] == pytest.approx(group["z"].median())
    assert it["ci_low"] < it["odds_ratio"] < it["ci_high"]


def test_exact_intervals_of_large_tables_are_near_those_of_statsmodels():
    from statsmodels.stats.contingency_tables import Table2x2

    table = np.array([[300, 2700], [500, 11_000]])
    found, _ = exact_odds(table)
    low, high = Table2x2(table).oddsratio_confint()
    assert found.ci_low == pytest.approx(low, rel=0.01) and found.ci_high == pytest.approx(high, rel=0.01)
    assert found.value == pytest.approx((300 / 2700) / (500 / 11_000))


def test_planted_identity_winners_are_enriched_and_shuffled_labels_are_not(found):
    it = row(found, checkpoint="w", regime="all", axis="program", group="identity", against="unassigned")
    assert it["odds_ratio"] > 3 and it["fisher_q"] < 1e-6 and it["permuted_p"] < 0.05
    assert it["blocks_low"] > 1.5
    assert it["permuted_low"] < 1 < it["permuted_high"] < it["odds_ratio"]
    assert it["permuted"] == pytest.approx(1, abs=0.15)


def test_moving_labels_of_genes_gives_odds_ratios_as_those_drawn():
    table = np.array([[30, 370], [60, 540]])
    rng = np.random.default_rng(0)
    found = _permuted(table, 20_000, rng)
    winner = np.arange(1000) < 90
    counts = np.array([rng.permutation(winner)[:400].sum() for _ in range(4000)])
    odds = odds_ratio(counts, 400, 90 - counts, 600)
    ends = np.quantile(odds, (0.025, 0.5, 0.975))
    np.testing.assert_allclose([found[f"permuted{end}"] for end in ("_low", "", "_high")], ends, rtol=0.06)
    two_sided = 2 * min((counts <= 30).mean(), (counts >= 30).mean())
    assert found["permuted_p"] == pytest.approx(two_sided, abs=0.03)


def test_q_values_are_benjamini_hochberg_within_axis_and_regime(found):
    rows = found.tables["learnability_enrichment"]
    part = rows[(rows["checkpoint"] == "w") & (rows["regime"] == "all") & (rows["axis"] == "program")]
    p = part["fisher_p"].dropna().sort_values()
    # q of rank i is the smallest p_j n / j with j from i on.
    q = np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1)).to_numpy()[::-1])[::-1]
    np.testing.assert_allclose(part.loc[p.index, "fisher_q"], q)


def test_identity_is_compared_with_dissociation_and_families_with_all_others(found):
    it = row(found, checkpoint="w", regime="all", group="identity", against="dissociation")
    assert it["winners_against"] + it["winners"] > 0
    judged = (found.tables["gene_learnability"].query("checkpoint == 'w'")["call"] != "not judged").sum()
    families = found.tables["learnability_enrichment"].query(
        "checkpoint == 'w' and regime == 'all' and axis == 'family'"
    )
    assert (families["genes"] + families["genes_against"] == judged).all()
    assert families["genes"].sum() == judged


def test_small_groups_and_groups_without_winners_say_why(found):
    section = SECTION.model_copy(update={"min_group": 10_000})
    rows = enrichment(found.models[0], section, "", 0)
    assert rows["odds_ratio"].isna().all() and rows["reason"].str.contains("fewer than 10000").all()
    assert rows["winner_rate"].notna().any()
    none = SECTION.model_copy(update={"min_group": 1})
    rows = enrichment(found.models[1], none, "identity", 0)
    assert (rows.loc[rows["axis"] == "program", "proxies"] == "identity").all()
    assert (rows.loc[rows["axis"] == "family", "proxies"] == "").all()
    assert (rows["odds_ratio"].isna() == (rows["reason"] != "")).all()

import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clouds import score_rows
from wced.benchmarks.comparison import statistics
from wced.benchmarks.comparison.statistics import differences, ranking
from wced.benchmarks.task import Metric

METRICS = (
    Metric("f1", "F1"),
    Metric("lcad", "LCAD", higher_is_better=False),
    Metric("reachable", "Reachable", ranks=False),
)


@pytest.fixture(autouse=True)
def task(monkeypatch):
    monkeypatch.setattr(statistics, "task_module", lambda task: SimpleNamespace(METRICS=METRICS))


def scores(value_dm, metric="f1", models="abcdefgh", source="here", split="all") -> pd.DataFrame:
    """Return rows of tables.SCORES: a row of values for each dataset, a column for each model, NaN for none."""
    rows = [
        {"dataset": f"d{i}", "model": model, "value": value, "n_params": 10 * models.index(model)}
        for i, value_m in enumerate(value_dm)
        for model, value in zip(models, value_m, strict=False)
    ]
    return score_rows(rows, metric=metric, source=source, split=split)


SIX = np.array([[5, 3, 1], [6, 4, 1], [4, 4.5, 2], [7, 3, 1], [5, 2, 3], [6, 1, 3]]) / 10


def test_a_difference_by_hand():
    row = differences(scores(SIX)).iloc[0]
    assert (row["model_a"], row["model_b"], row["datasets"]) == ("a", "b", 6)
    assert row["difference"] == pytest.approx((0.2 + 0.2 - 0.05 + 0.4 + 0.3 + 0.5) / 6)
    assert (row["wins_a"], row["wins_b"]) == (5, 1)
    # Of all 64 signs of the ranks 1 to 6, those with a negative rank sum of at most 1: none or only the first.
    assert row["p"] == pytest.approx(2 * 2 / 64)
    assert row["ci_low"] < row["difference"] < row["ci_high"]


def test_the_order_of_rows_does_not_matter():
    rows = scores(SIX)
    by_model = rows.sort_values("model", kind="stable")
    for compared in (differences, ranking):
        pd.testing.assert_frame_equal(compared(by_model), compared(rows))


def test_p_values_are_those_of_wilcoxon_corrected_by_holm_over_pairs():
    table = differences(scores(SIX))
    p = [stats.wilcoxon(SIX[:, a] - SIX[:, b]).pvalue for a, b in itertools.combinations(range(3), 2)]
    assert table["p"].to_numpy() == pytest.approx(p)
    order, worst = np.argsort(p, kind="stable"), 0.0
    for place, pair in enumerate(order):
        worst = max(worst, min(1, (3 - place) * p[pair]))
        assert table["p_adjusted"].iloc[pair] == pytest.approx(worst)
    assert set(table["test"]) == {"Wilcoxon signed-rank; Holm over pairs of models"}


def test_with_few_datasets_the_interval_is_of_all_resamples_and_there_is_no_p():
    row = differences(scores(SIX[:3, :2])).iloc[0]
    d = SIX[:3, 0] - SIX[:3, 1]
    means = [np.mean(draw) for draw in itertools.product(d, repeat=3)]
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(np.percentile(means, [2.5, 97.5]).tolist())
    assert row["ci_method"] == "percentiles of all 27 resamples of 3 datasets"
    assert np.isnan(row["p"]) and np.isnan(row["p_adjusted"])
    assert row["p_reason"] == "3 datasets are fewer than 5" and row["test"] == ""


def test_one_dataset_has_a_difference_and_no_interval_and_none_has_a_reason():
    row = differences(scores([[0.5, 0.25], [0.5, np.nan]])).iloc[0]
    assert (row["difference"], row["datasets"]) == (0.25, 1) and np.isnan(row["ci_low"])
    row = differences(scores([[0.5, np.nan], [np.nan, 0.5]])).iloc[0]
    assert np.isnan(row["difference"]) and row["reason"] == "no dataset on which both have a score"


def test_equal_models_are_not_tested():
    row = differences(scores(SIX[:, [0, 0]])).iloc[0]
    assert row["p_reason"] == "the models do not differ on any dataset" and row["wins_a"] == row["wins_b"] == 0


def test_lower_is_better_turns_wins_ranks_and_z_round_but_not_the_difference():
    high, low = scores(SIX), scores(SIX, metric="lcad")
    a, b = differences(high).iloc[0], differences(low).iloc[0]
    assert a["difference"] == b["difference"] > 0
    assert (b["wins_a"], b["wins_b"]) == (1, 5) and not b["higher_is_better"]
    a, b = ranking(high), ranking(low)
    assert a["z"].to_numpy() == pytest.approx(-b["z"].to_numpy())
    assert (a["rank"] + b["rank"]).to_numpy() == pytest.approx(4)


def test_external_scores_are_compared_but_not_published_ones_and_metrics_that_rank_nothing():
    own, published = scores(SIX), scores(SIX, models="xyz", source="published")
    every = pd.concat([own, published, scores(SIX, metric="reachable")])
    assert differences(every).equals(differences(own)) and ranking(every).equals(ranking(own))
    assert len(differences(published)) == len(ranking(published)) == 0
    every = pd.concat([scores(SIX[:, :1]), scores(SIX[:, 1:2], models="x", source="external")])
    assert set(ranking(every)["model"]) == {"a", "x"} and len(differences(every)) == 1


def test_splits_of_a_dataset_are_one_dataset():
    halves = pd.concat([scores(SIX - 0.1, split="first"), scores(SIX + 0.1, split="second")])
    pd.testing.assert_frame_equal(differences(halves), differences(scores(SIX)))
    gone = scores(SIX[:1, :2] * [np.nan, 1], split="second")
    row = ranking(pd.concat([scores(SIX[:1, :2], split="first"), gone])).iloc[0]
    assert np.isnan(row["value"]) and row["reason"] == "too few"


def test_ranks_and_z_scores_by_hand():
    table = ranking(scores([[0.3, 0.1, 0.2], [0.5, 0.5, 0.2]])).set_index(["dataset", "model"])
    assert table.loc["d0", "rank"].tolist() == [1, 3, 2]
    assert table.loc["d1", "rank"].tolist() == [1.5, 1.5, 3]
    assert table.loc["d0", "z"].tolist() == pytest.approx([1.5**0.5, -(1.5**0.5), 0])
    assert table.loc["d1", "z"].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, -(2**0.5)])
    mean = table.loc[("all", "a")]
    assert (mean["value"], mean["rank"], mean["datasets"]) == (0.4, 1.25, 2)
    assert mean["rank_sd"] == pytest.approx(np.std([1, 1.5], ddof=1))
    assert mean["z_sd"] == pytest.approx(np.std([1.5**0.5, 0.5**0.5], ddof=1))


def test_a_model_without_a_score_somewhere_has_no_mean_and_says_where():
    table = ranking(scores([[0.3, 0.1], [0.5, np.nan], [np.nan, np.nan]])).set_index(["dataset", "model"])
    assert table.loc[("all", "b"), "reason"] == "no score on d1" and np.isnan(table.loc[("all", "b"), "rank"])
    # Nobody has a score on d2, which therefore is no lack of a.
    assert table.loc[("all", "a"), "value"] == pytest.approx(0.4) and table.loc[("all", "a"), "reason"] == ""
    assert table.loc[("d1", "a"), "rank"] == 1 and np.isnan(table.loc[("d1", "a"), "z"])
    assert table.loc[("d2", "a"), "reason"] == "too few"


def test_no_score_at_all_keeps_its_reason():
    table = ranking(scores([[np.nan, np.nan]]))
    assert table["value"].isna().all() and set(table["reason"]) == {"too few"}


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(0, 8).map(lambda x: x / 8), min_size=3, max_size=3), min_size=1, max_size=7))
def test_ranks_and_z_scores_of_a_dataset_cancel_out(value_dm):
    table = ranking(scores(value_dm))
    single = table[table["dataset"] != "all"].groupby("dataset")
    assert single["rank"].sum().to_numpy() == pytest.approx(6)
    assert single["z"].sum().to_numpy() == pytest.approx(0, abs=1e-9)
    # An order of columns is none of models: the other way round, differences change their sign.
    there, back = differences(scores(value_dm)), differences(scores([row[::-1] for row in value_dm]))
    assert there["difference"].to_numpy() == pytest.approx(-back["difference"].to_numpy()[::-1], abs=1e-12)
    assert there["p"].to_numpy() == pytest.approx(back["p"].to_numpy()[::-1], nan_ok=True)

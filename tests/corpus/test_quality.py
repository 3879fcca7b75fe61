import numpy as np
import pandas as pd
import pytest
from scipy.stats import median_abs_deviation

from wced import tables
from wced.config.corpus import CellFilter
from wced.corpus.quality import PASSED, RULES, histograms, judge, medians_and_mads, needed_columns


def cells(n=400, datasets=3, **columns):
    """Make cells of several datasets, changed by columns."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, datasets, n)
    frame = {
        "dataset_id": pd.Categorical.from_codes(codes, [f"d{i}" for i in range(datasets)]),
        "is_primary_data": np.ones(n, bool),
        "raw_sum": np.round(rng.lognormal(8, 0.5, n)),
        "nnz": rng.integers(500, 3000, n).astype(np.int32),
        "mt_fraction": rng.beta(2, 30, n).astype(np.float32),
        "n_measured_vars": np.full(n, 20_000, np.int32),
    }
    return pd.DataFrame(frame | columns)


def removed(obs, **rules):
    first, _ = judge(obs, CellFilter(**rules))
    return {name: np.flatnonzero(first == code).tolist() for code, name in enumerate(RULES) if (first == code).any()}


@pytest.mark.parametrize(
    ("rules", "column", "values", "expected"),
    [
        ({"min_counts": 5}, "raw_sum", [4, 5, 6], {"low_counts": [0]}),
        ({"max_counts": 5}, "raw_sum", [4, 5, 6], {"high_counts": [2]}),
        ({"min_genes": 5}, "nnz", [4, 5, 6], {"low_genes": [0]}),
        ({"max_mt_fraction": 0.3}, "mt_fraction", np.float32([0.3, 0.31, np.nan]), {"high_mt": [1]}),
        ({"min_measured_genes": 5}, "n_measured_vars", [4, 5, 6], {"few_measured": [0]}),
        ({}, "is_primary_data", [True, False, True], {"not_primary": [1]}),
        ({"primary_only": False}, "is_primary_data", [True, False, True], {}),
    ],
    ids=["min counts", "max counts", "min genes", "mt, unmeasured is no fault", "measured", "primary", "off"],
)
def test_fixed_rules(rules, column, values, expected):
    assert removed(cells(3, 1, **{column: np.asarray(values)}), **rules) == expected


def test_the_first_rule_takes_the_blame_and_the_table_tells_both():
    obs = cells(4, 1, raw_sum=np.array([1.0, 1, 9, 9]), nnz=np.array([1, 9, 1, 9], np.int32))
    first, table = judge(obs, CellFilter(min_counts=5, min_genes=5))
    assert [RULES[code] for code in first[:3]] == ["low_counts", "low_counts", "low_genes"] and first[3] == PASSED
    rows = tables.checked(table, tables.QC).set_index("rule")
    assert list(rows.index) == ["not_primary", "low_counts", "low_genes"]
    assert rows.loc["low_genes", ["low", "cells", "failing", "removed"]].tolist() == [5, 4, 2, 1]
    assert np.isnan(rows.loc["not_primary", "low"]) and rows["high"].isna().all()


@pytest.mark.parametrize("log1p", [True, False], ids=["log1p", "plain"])
def test_medians_and_mads_are_scipys(log1p):
    rng = np.random.default_rng(1)
    values, groups = rng.lognormal(3, 1, 999), rng.integers(0, 6, 999)
    values[::17] = np.nan
    order, ends = np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups, minlength=7))
    median_g, mad_g = medians_and_mads(values, order, ends, log1p)
    values = np.log1p(values) if log1p else values
    for group in range(6):
        inside = values[(groups == group) & ~np.isnan(values)]
        assert median_g[group] == np.median(inside)
        assert mad_g[group] == pytest.approx(median_abs_deviation(inside), rel=1e-12)
    assert np.isnan([median_g[6], mad_g[6]]).all()


def is_outlier(values, n_mads):
    """Single-cell best practices, chapter Quality Control."""
    median, mad = np.median(values), median_abs_deviation(values)
    return (values < median - n_mads * mad) | (median + n_mads * mad < values)


def test_outliers_are_those_of_best_practices_in_each_dataset():
    rng = np.random.default_rng(2)
    obs = cells(3000)
    obs.loc[rng.integers(0, 3000, 60), "raw_sum"] *= 40
    obs.loc[rng.integers(0, 3000, 60), "nnz"] = 3
    outliers = removed(obs, mads={"counts": 3, "genes": 3, "mt_fraction": 3})
    counts, genes, mt = (np.zeros(3000, bool) for _ in range(3))
    for _, rows in obs.groupby("dataset_id", observed=True).groups.items():
        counts[rows] = is_outlier(np.log1p(obs["raw_sum"][rows]), 3)
        genes[rows] = is_outlier(np.log1p(obs["nnz"][rows]), 3)
        mt[rows] = is_outlier(obs["mt_fraction"][rows], 3) & (
            obs["mt_fraction"][rows] > obs["mt_fraction"][rows].median()
        )
    assert outliers["outlier_counts"] == np.flatnonzero(counts).tolist() and len(outliers["outlier_counts"]) >= 50
    assert outliers["outlier_genes"] == np.flatnonzero(genes & ~counts).tolist()
    assert outliers["outlier_mt"] == np.flatnonzero(mt & ~genes & ~counts).tolist() and outliers["outlier_mt"]


def test_the_median_is_of_cells_that_the_fixed_rules_leave():
    obs = cells(100, 1, raw_sum=np.concatenate([np.full(60, 3.0), np.linspace(900, 1100, 40)]))
    assert "outlier_counts" not in removed(obs, min_counts=100, mads={"counts": 5})
    first, table = judge(obs, CellFilter(min_counts=100, mads={"counts": 5}))
    assert (first == PASSED).sum() == 40
    assert 700 < table.set_index("rule").loc["outlier_counts", "low"] < 900 < 1100 < table["high"].max() < 1300


def test_a_dataset_without_spread_has_no_outliers():
    obs = cells(10, 1, mt_fraction=np.float32([0] * 8 + [0.01, 0.5]))
    _, table = judge(obs, CellFilter(mads={"mt_fraction": 3}))
    assert table.set_index("rule").loc["outlier_mt", ["failing", "removed"]].tolist() == [0, 0]
    assert table["high"].isna().all()


def test_histograms_hold_every_cell_once():
    obs = cells(mt_fraction=np.float32([np.nan, 1.0, 0.0] + [0.2] * 397))
    obs.loc[5, "raw_sum"] = 0
    passed = obs["nnz"].to_numpy() > 1000
    table = tables.checked(histograms(obs, passed), tables.QC_HISTOGRAMS)
    for (dataset, metric), rows in table.groupby(["dataset", "metric"]):
        here = (obs["dataset_id"] == dataset).to_numpy()
        column = {"counts": "raw_sum", "genes": "nnz", "mt_fraction": "mt_fraction"}[metric]
        values = obs[column].to_numpy()
        known = here & ~np.isnan(values)
        assert rows["cells"].sum() == known.sum() and rows["kept"].sum() == (known & passed).sum()
        for row in rows.itertuples():
            last = metric == "mt_fraction" and row.high == 1
            assert row.cells == (known & (values >= row.low) & ((values < row.high) | last)).sum()
    assert (table["cells"] > 0).all() and (table[table["metric"] == "counts"]["low"] == 0).sum() == 1


def test_chunks_do_not_change_histograms(monkeypatch):
    obs, passed = cells(), np.ones(400, bool)
    whole = histograms(obs, passed)
    monkeypatch.setattr("wced.corpus.quality.CHUNK", 7)
    pd.testing.assert_frame_equal(whole, histograms(obs, passed))


@pytest.mark.parametrize(
    ("rules", "extra"),
    [
        ({}, set()),
        ({"max_mt_fraction": 0.1}, {"mt_fraction"}),
        ({"mads": {"mt_fraction": 3}}, {"mt_fraction"}),
        ({"min_measured_genes": 1}, {"n_measured_vars"}),
    ],
    ids=["none", "mt", "mt outliers", "measured"],
)
def test_only_needed_columns_are_asked_for(rules, extra):
    assert set(needed_columns(CellFilter(**rules))) == {"dataset_id", "is_primary_data", "raw_sum", "nnz"} | extra

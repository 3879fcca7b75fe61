"""Quality control of cells: which rule removes which cell, and how the metrics are distributed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wced import tables
from wced.config.corpus import CellFilter

RULES = (
    *("not_primary", "low_counts", "high_counts", "low_genes", "high_mt", "few_measured"),
    *("outlier_counts", "outlier_genes", "outlier_mt"),
)
"""Rules in the order in which they are applied: a cell counts as removed by the first that it fails."""

PASSED = -1
"""Code of a cell that no rule removes."""

METRICS = {"counts": "raw_sum", "genes": "nnz", "mt_fraction": "mt_fraction"}
"""Metrics that outliers are looked for in, and their columns of obs."""

BINS_PER_DECADE = 20
"""Bins of the histograms of counts and genes; fractions have a hundred."""

CHUNK = 1 << 22
"""Cells looked at together, so that what is computed on the way takes little memory."""


@dataclass(frozen=True)
class Rule:
    """Values that a metric may have, for each dataset; NaN where there is no limit."""

    name: str
    """One of `RULES`."""
    column: str
    """Column of obs."""
    low_d: np.ndarray
    """Smallest good value."""
    high_d: np.ndarray
    """Largest good value."""
    log1p: bool = False
    """Whether limits are of log1p of the column."""

    def fails(self, obs: pd.DataFrame, dataset: np.ndarray) -> np.ndarray:
        """Return for each cell whether its value is outside; where nothing was measured (NaN) it is not."""
        values, fails = obs[self.column].to_numpy(), np.zeros(len(obs), bool)
        # A limit has the precision of the values, or 0.3 as float32 would be more than 0.3.
        kind = values.dtype if values.dtype.kind == "f" else np.float64
        low_d, high_d = self.low_d.astype(kind), self.high_d.astype(kind)
        for start in range(0, len(values), CHUNK):
            chunk = slice(start, start + CHUNK)
            value = np.log1p(values[chunk]) if self.log1p else values[chunk]
            fails[chunk] = (value < low_d[dataset[chunk]]) | (value > high_d[dataset[chunk]])
        return fails


def needed_columns(section: CellFilter) -> list[str]:
    """Return the columns of obs that the rules of a config need."""
    columns = ["dataset_id", "is_primary_data", "raw_sum", "nnz"]
    if section.max_mt_fraction is not None or section.mads.mt_fraction is not None:
        columns.append("mt_fraction")
    if section.min_measured_genes:
        columns.append("n_measured_vars")
    return columns


def judge(obs: pd.DataFrame, section: CellFilter) -> tuple[np.ndarray, pd.DataFrame]:
    """Apply the rules to every cell.

    Parameters
    ----------
    obs
        Cells with the columns of `needed_columns`; `dataset_id` is categorical.
    section
        Rules.

    Returns
    -------
    first_n
        int8, (cells,): code of the first rule that removes the cell, or `PASSED`.
    table
        Rows of `wced.tables.QC`: each rule that is switched on, for each dataset.
    """
    dataset, names = obs["dataset_id"].array.codes, obs["dataset_id"].cat.categories
    cells_d = np.bincount(dataset, minlength=len(names))
    first = np.full(len(obs), PASSED, np.int8)
    parts = []
    for rule in _rules(obs, section, dataset, first):
        fails = rule.fails(obs, dataset)
        removes = fails & (first == PASSED)
        first[removes] = RULES.index(rule.name)
        parts.append(
            pd.DataFrame(
                {
                    "dataset": names,
                    "rule": rule.name,
                    "low": _shown(rule, rule.low_d),
                    "high": _shown(rule, rule.high_d),
                    "cells": cells_d,
                    "failing": np.bincount(dataset[fails], minlength=len(names)),
                    "removed": np.bincount(dataset[removes], minlength=len(names)),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=tables.QC.names)
    return first, table.sort_values("dataset", kind="stable", ignore_index=True)


def _rules(obs: pd.DataFrame, section: CellFilter, dataset: np.ndarray, first: np.ndarray) -> Iterator[Rule]:
    """Yield the rules that are switched on; those of outliers look at `first`, which the fixed rules have filled."""
    n_datasets = len(obs["dataset_id"].cat.categories)

    def fixed(name: str, column: str, low: float | None = None, high: float | None = None) -> Rule:
        return Rule(name, column, *(np.full(n_datasets, np.nan if x is None else x, float) for x in (low, high)))

    if section.primary_only:
        yield fixed("not_primary", "is_primary_data", low=1)
    if section.min_counts:
        yield fixed("low_counts", "raw_sum", low=section.min_counts)
    if section.max_counts is not None:
        yield fixed("high_counts", "raw_sum", high=section.max_counts)
    if section.min_genes:
        yield fixed("low_genes", "nnz", low=section.min_genes)
    if section.max_mt_fraction is not None:
        yield fixed("high_mt", "mt_fraction", high=section.max_mt_fraction)
    if section.min_measured_genes:
        yield fixed("few_measured", "n_measured_vars", low=section.min_measured_genes)
    if not any(value is not None for _, value in section.mads):
        return
    # All three look at the same cells, those that the fixed rules left: here dataset after dataset.
    order = np.flatnonzero(first == PASSED)
    ends = np.cumsum(np.bincount(dataset[order], minlength=n_datasets))
    order = order[np.argsort(dataset[order], kind="stable")]
    for name, metric, log1p in (
        ("outlier_counts", "counts", True),
        ("outlier_genes", "genes", True),
        ("outlier_mt", "mt_fraction", False),
    ):
        n_mads = getattr(section.mads, metric)
        if n_mads is not None:
            median_d, mad_d = medians_and_mads(obs[METRICS[metric]].to_numpy(), order, ends, log1p)
            low_d, high_d = median_d - n_mads * mad_d, median_d + n_mads * mad_d
            yield Rule(name, METRICS[metric], low_d if log1p else np.full(n_datasets, np.nan), high_d, log1p)


def _shown(rule: Rule, limit_d: np.ndarray) -> np.ndarray:
    """Return limits in the units of the column; that of a yes or no says nothing to a reader."""
    if rule.name == "not_primary":
        return np.full(len(limit_d), np.nan)
    return np.expm1(limit_d) if rule.log1p else limit_d


def medians_and_mads(
    values: np.ndarray, order: np.ndarray, ends: np.ndarray, log1p: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return median and median absolute deviation of each group, exactly.

    MAD = median(abs(x - median(x))), without the factor 1.4826 that would make it the standard deviation of normal
    values: this is `scipy.stats.median_abs_deviation` with its defaults, as Single-cell best practices (Heumos et al.
    2023, chapter Quality Control) uses it.

    Parameters
    ----------
    values
        (cells,); NaN is left out.
    order
        Places of the cells that count, group after group.
    ends
        (groups,): where each group ends in `order`.
    log1p
        Whether x is log1p of the value.

    Returns
    -------
    median_g, mad_g
        (groups,); NaN for a group without a value. Also NaN where the MAD is 0, because more than half of the values
        are the same (nuclei without mitochondrial counts): there it measures no spread, and every other value would be
        an outlier.
    """
    median_g, mad_g = np.full(len(ends), np.nan), np.full(len(ends), np.nan)
    for group, (start, end) in enumerate(zip(np.append(0, ends[:-1]), ends, strict=True)):
        inside = values[order[start:end]].astype(np.float64)
        inside = inside[~np.isnan(inside)]
        inside = np.log1p(inside) if log1p else inside
        if len(inside):
            median = np.median(inside)
            mad = np.median(np.abs(inside - median))
            if mad > 0:
                median_g[group], mad_g[group] = median, mad
    return median_g, mad_g


def histograms(obs: pd.DataFrame, passed: np.ndarray) -> pd.DataFrame:
    """Return how the metrics of each dataset are distributed, so that a figure needs no cells.

    Parameters
    ----------
    obs
        Cells, as for `judge`.
    passed
        bool, (cells,): whether no rule removes the cell.

    Returns
    -------
    pandas.DataFrame
        Rows of `wced.tables.QC_HISTOGRAMS`: bins that hold a cell. Counts and genes have bins of equal width in log10
        and one for 0; a mitochondrial fraction of exactly 1 is in the last bin. Cells without a value are in none.
    """
    dataset, names = obs["dataset_id"].array.codes, obs["dataset_id"].cat.categories
    parts = []
    for metric, column in METRICS.items():
        if column not in obs.columns:
            continue
        values = obs[column].to_numpy()
        if metric == "mt_fraction":
            edges = np.linspace(0, 1, 101)
        else:
            decades = np.ceil(np.log10(max(values.max(), 1) + 1) * BINS_PER_DECADE)
            edges = np.concatenate([[0], 10 ** (np.arange(decades + 1) / BINS_PER_DECADE)])
        shape = len(names), len(edges) - 1
        cells, kept = np.zeros(np.prod(shape), np.int64), np.zeros(np.prod(shape), np.int64)
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            inner = np.clip(np.searchsorted(edges, chunk, side="right") - 1, 0, shape[1] - 1)
            place = dataset[start : start + CHUNK].astype(np.int64) * shape[1] + inner
            known = ~np.isnan(chunk)
            cells += np.bincount(place[known], minlength=len(cells))
            kept += np.bincount(place[known & passed[start : start + CHUNK]], minlength=len(kept))
        filled = np.flatnonzero(cells)
        row, bin_ = np.divmod(filled, shape[1])
        part = {"dataset": names[row], "metric": metric, "low": edges[bin_], "high": edges[bin_ + 1]}
        parts.append(pd.DataFrame(part | {"cells": cells[filled], "kept": kept[filled]}))
    return pd.concat(parts, ignore_index=True)

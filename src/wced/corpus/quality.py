"""Quality control of cells: which rule removes which cell, and how the metrics are distributed."""

from collections.abc import Iterator

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
"""Metrics that have outliers and histograms, and their columns of obs."""

BINS_PER_DECADE = 20
"""Bins of the histograms of counts and genes; fractions have a hundred."""

CHUNK = 1 << 22
"""Cells looked at together, so that intermediate values take little memory."""


def needed_columns(section: CellFilter) -> list[str]:
    """Return the columns of obs that the rules of a config need."""
    needed = ["dataset_id", "is_primary_data", "raw_sum", "nnz", *(column for _, column, *_ in _fixed_rules(section))]
    return list(dict.fromkeys([*needed, "mt_fraction"] if section.mads.mt_fraction is not None else needed))


def judge(obs: pd.DataFrame, section: CellFilter) -> tuple[np.ndarray, pd.DataFrame]:
    """Apply the rules to every cell of obs, which has the columns of `needed_columns`.

    Returns the code of the first rule that removes each cell, or `PASSED`; int8, (cells,). Then rows of
    `wced.tables.QC`: each rule that is switched on, for each dataset.
    """
    dataset, names = obs["dataset_id"].array.codes, obs["dataset_id"].cat.categories
    cells_d = np.bincount(dataset, minlength=len(names))
    first = np.full(len(obs), PASSED, np.int8)
    parts = []
    for rule, column, low, high, log1p in _rules(obs, section, dataset, first):
        low_d, high_d = (np.broadcast_to(limit, len(names)).astype(float) for limit in (low, high))
        fails = _outside(obs[column].to_numpy(), dataset, low_d, high_d, log1p)
        removes = fails & (first == PASSED)
        first[removes] = RULES.index(rule)
        part = {"dataset": names, "rule": rule, "low": low_d, "high": high_d, "cells": cells_d}
        if log1p:
            part |= {"low": np.expm1(low_d), "high": np.expm1(high_d)}
        if rule == "not_primary":
            part["low"] = np.nan  # a limit of yes or no says nothing to a reader
        for name, cells in (("failing", fails), ("removed", removes)):
            part[name] = np.bincount(dataset[cells], minlength=len(names))
        parts.append(pd.DataFrame(part))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=tables.QC.names)
    return first, table.sort_values("dataset", kind="stable", ignore_index=True)


_Rule = tuple[str, str, float | np.ndarray, float | np.ndarray, bool]
"""Name, column of obs, smallest and largest good value (NaN for none; of each dataset or all), whether of log1p."""


def _fixed_rules(section: CellFilter) -> list[_Rule]:
    """Return the rules that are switched on and whose limits the config gives."""
    rules = (
        ("not_primary", "is_primary_data", section.primary_only, None),
        ("low_counts", "raw_sum", section.min_counts, None),
        ("high_counts", "raw_sum", None, section.max_counts),
        ("low_genes", "nnz", section.min_genes, None),
        ("high_mt", "mt_fraction", None, section.max_mt_fraction),
        ("few_measured", "n_measured_vars", section.min_measured_genes, None),
    )
    return [
        (name, column, low or np.nan, np.nan if high is None else high, False)
        for name, column, low, high in rules
        if low or high is not None
    ]


def _rules(obs: pd.DataFrame, section: CellFilter, dataset: np.ndarray, first: np.ndarray) -> Iterator[_Rule]:
    """Yield the rules that are switched on; those of outliers look at `first`, which the fixed rules have filled."""
    yield from _fixed_rules(section)
    if not any(value is not None for _, value in section.mads):
        return
    # All three look at the cells that the fixed rules left, here dataset after dataset.
    order = np.flatnonzero(first == PASSED)
    ends = np.cumsum(np.bincount(dataset[order], minlength=len(obs["dataset_id"].cat.categories)))
    order = order[np.argsort(dataset[order], kind="stable")]
    for rule, metric in zip(RULES[-3:], METRICS, strict=True):
        log1p, n_mads = metric != "mt_fraction", getattr(section.mads, metric)
        if n_mads is not None:
            median_d, mad_d = medians_and_mads(obs[METRICS[metric]].to_numpy(), order, ends, log1p)
            low = median_d - n_mads * mad_d if log1p else np.nan
            yield rule, METRICS[metric], low, median_d + n_mads * mad_d, log1p


def _outside(values: np.ndarray, dataset: np.ndarray, low_d: np.ndarray, high_d: np.ndarray, log1p: bool) -> np.ndarray:
    """Return for each cell whether its value is outside; where nothing was measured (NaN) it is not."""
    # A limit has the precision of the values, or 0.3 as float32 would be more than 0.3.
    dtype = values.dtype if values.dtype.kind == "f" else np.float64
    low_d, high_d, outside = low_d.astype(dtype), high_d.astype(dtype), np.zeros(len(values), bool)
    for start in range(0, len(values), CHUNK):
        chunk = slice(start, start + CHUNK)
        value = np.log1p(values[chunk]) if log1p else values[chunk]
        outside[chunk] = (value < low_d[dataset[chunk]]) | (value > high_d[dataset[chunk]])
    return outside


def medians_and_mads(
    values: np.ndarray, order: np.ndarray, ends: np.ndarray, log1p: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact median and median absolute deviation (MAD) of each group of values (or of their log1p).

    MAD = median(abs(x - median(x))), without the factor 1.4826 that would make it the standard deviation of normal
    values: `scipy.stats.median_abs_deviation` with its defaults, as in Single-cell best practices (Heumos et al. 2023,
    chapter Quality Control). Both are NaN for a group without a value (NaN is none), and where the MAD is 0, because
    more than half of the values are the same (nuclei without mitochondrial counts): there it measures no spread, and
    every other value would be an outlier.

    `order` are the rows that count, group after group; `ends` says where each group ends in it.
    """
    median_g, mad_g = np.full(len(ends), np.nan), np.full(len(ends), np.nan)
    for group, rows in enumerate(np.split(order, ends[:-1])):
        x = values[rows].astype(np.float64)
        x = x[~np.isnan(x)]
        if len(x):
            x = np.log1p(x) if log1p else x
            median = np.median(x)
            mad = np.median(np.abs(x - median))
            if mad > 0:
                median_g[group], mad_g[group] = median, mad
    return median_g, mad_g


def histograms(obs: pd.DataFrame, passed: np.ndarray) -> pd.DataFrame:
    """Return rows of `wced.tables.QC_HISTOGRAMS`: how metrics are distributed, of all cells and of those that passed.

    Only bins that hold a cell are listed. Counts and genes have bins of equal width in log10 and one for 0; a
    mitochondrial fraction of exactly 1 is in the last bin. Cells without a value are in none.
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
        bins = len(edges) - 1
        cells, kept = np.zeros((2, len(names) * bins), np.int64)
        for start in range(0, len(values), CHUNK):
            chunk = slice(start, start + CHUNK)
            bin_n = np.clip(np.searchsorted(edges, values[chunk], side="right") - 1, 0, bins - 1)
            index = dataset[chunk].astype(np.int64) * bins + bin_n
            known = ~np.isnan(values[chunk])
            cells += np.bincount(index[known], minlength=len(cells))
            kept += np.bincount(index[known & passed[chunk]], minlength=len(kept))
        filled = np.flatnonzero(cells)
        row, bin_ = np.divmod(filled, bins)
        part = {"dataset": names[row], "metric": metric, "low": edges[bin_], "high": edges[bin_ + 1]}
        parts.append(pd.DataFrame(part | {"cells": cells[filled], "kept": kept[filled]}))
    return pd.concat(parts, ignore_index=True)

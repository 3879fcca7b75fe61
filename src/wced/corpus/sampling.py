"""Sampling the good cells: steps that each take a part of what the one before it left.

A cell is taken before another if its random number is smaller. That depends on seed, step and soma_joinid alone, so a
smaller share, cap or total takes a subset of what a larger one takes.
"""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from wced import tables
from wced.config import corpus as config
from wced.corpus.draws import draws
from wced.errors import WcedError

DENSE = 1 << 27
"""Combinations up to which those that occur are found through an array of all of them."""


def needed_columns(steps: Sequence[config.SamplingStep]) -> list[str]:
    """Return the columns of obs that the steps of a config need."""
    return ["soma_joinid", *dict.fromkeys(column for step in steps for column in _columns(step))]


def sample(
    obs: pd.DataFrame, rows: np.ndarray, steps: Sequence[config.SamplingStep], seed: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Apply the steps, in their order, to some rows of obs, which has the columns of `needed_columns`.

    Returns the rows (ascending) that all steps take, and rows of `wced.tables.SAMPLING`: for each step and stratum, its
    cells before and after. Raises WcedError if a stratified step names a value that no cell has.
    """
    manifest = [] if steps else [pd.DataFrame(columns=tables.SAMPLING.names)]
    for number, step in enumerate(steps, 1):
        strata, frame = strata_of(obs, rows, _columns(step))
        names = [" | ".join(row) for row in frame.itertuples(index=False)] if len(frame.columns) else ["all"]
        before_s = np.bincount(strata, minlength=len(names))
        of_all = isinstance(step, config.FractionStep)
        key = draws(obs["soma_joinid"].to_numpy()[rows], seed, number, step.run if of_all else 1)
        if of_all:
            taken = _smallest(key, max(1, round(step.fraction * len(rows))))
        else:
            rank = _ranks(strata, before_s, key)
            if isinstance(step, config.CapStep):
                taken = rank < step.cells
            elif isinstance(step, config.TotalStep):
                cap, rest = water_level(before_s, step.cells)
                taken = rank < cap
                # The cells that are next in their strata compete for what the common cap leaves over.
                following = np.flatnonzero(rank == cap)
                taken[following[_smallest(key[following], rest)]] = True
            else:
                share_s = _shares(step, number, names)
                taken = rank < np.where(share_s > 0, np.maximum(np.round(share_s * before_s), 1), 0)[strata]
        after_s = np.bincount(strata[taken], minlength=len(names))
        part = {"step": number, "kind": step.kind, "by": ", ".join(frame.columns), "stratum": names}
        manifest.append(pd.DataFrame(part | {"cells_there": before_s, "cells_taken": after_s}))
        rows = rows[taken]
    return rows, pd.concat(manifest, ignore_index=True)


def _shares(step: config.StratifiedStep, number: int, names: list[str]) -> np.ndarray:
    """Return the share of each stratum that a step takes."""
    for value in step.fractions:
        if value not in names:
            nearest = get_close_matches(value, names, n=3, cutoff=0.5) or names[:3]
            raise WcedError(
                f"cells.sampling: step {number} gives a fraction for {step.by} {value!r}, which no cell has at this "
                f"step; nearest are {', '.join(map(repr, nearest))}"
            )
    return np.array([step.fractions.get(name, step.otherwise) for name in names])


def _columns(step: config.SamplingStep) -> list[str]:
    """Return the columns whose combinations are a step's strata; a donor's name means something in its dataset only."""
    if isinstance(step, config.FractionStep):
        return []
    by = [step.by] if isinstance(step, config.StratifiedStep) else step.by
    return list(dict.fromkeys(name for column in by for name in (["dataset_id"] * (column == "donor_id") + [column])))


def strata_of(obs: pd.DataFrame, rows: np.ndarray, columns: Sequence[str]) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the stratum of each cell of some rows, and the combination of values that each stratum stands for.

    Strata are integers, (rows,), the codes of those that occur, in the order of their values; 0 without any column.
    """
    strata, names = np.zeros(len(rows), np.int8), pd.DataFrame(index=range(1))
    for column in columns:
        values, codes = obs[column].cat.categories, obs[column].array.codes[rows]
        combined = strata.astype(np.int64) * len(values) + codes
        if len(names) * len(values) <= DENSE:
            occurs = np.zeros(len(names) * len(values), bool)
            occurs[combined] = True
            present = np.flatnonzero(occurs)
            code_of = np.cumsum(occurs, dtype=np.int32) - 1
            strata = code_of[combined]
        else:
            strata, present = pd.factorize(combined, sort=True)
        before, value = np.divmod(present, len(values))
        names = names.iloc[before].reset_index(drop=True).assign(**{column: values[value].to_numpy(object)})
    return strata, names


def _ranks(strata: np.ndarray, size_s: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return each cell's rank in its stratum, from 0, in the order of `key` (uint64, distinct)."""
    order = np.lexsort((key, strata))
    dtype = np.min_scalar_type(-max(len(strata), 1))  # arrays of all cells: every byte counts
    rank_of_sorted = np.arange(len(strata), dtype=dtype)
    rank_of_sorted -= np.repeat((np.cumsum(size_s) - size_s).astype(dtype), size_s)
    rank = np.empty(len(strata), dtype)
    rank[order] = rank_of_sorted
    return rank


def water_level(size_s: np.ndarray, cells: int) -> tuple[int, int]:
    """Return the largest cap with Σ min(n, cap) ≤ cells over the strata, and how many cells that leaves to give away.

    The rest is smaller than the number of strata above the cap, so each of these gets one cell more or none: Σ is then
    `cells` exactly. Where there are not more cells than that, nothing is capped.
    """
    if size_s.sum() <= cells:
        return int(size_s.max(initial=0)), 0
    sizes = np.sort(size_s)
    above = len(sizes) - np.arange(len(sizes))
    # Σ if the cap is the size of stratum i (ascending): those below it whole, the others capped.
    filled = np.cumsum(sizes) - sizes + sizes * above
    i = np.searchsorted(filled, cells, side="right")
    cap, rest = divmod(cells - sizes[:i].sum(), len(sizes) - i)
    return int(cap), int(rest)


def _smallest(key: np.ndarray, n: int) -> np.ndarray:
    """Return which are the n smallest, with all that equal the largest of them."""
    n = min(n, len(key))
    return key <= np.partition(key, n - 1)[n - 1] if n else np.zeros(len(key), bool)

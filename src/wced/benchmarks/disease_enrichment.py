"""What a cluster of cells has to do with a disease: a marker signature, and the share of cases, by cells and donors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from wced.stats import CELL_SAMPLES, Score, adjusted, bootstrap_weights, standard_errors, woolf

PERMUTATIONS = 9999
"""Most permutations of donors; where there are fewer ways, each is taken once."""


@dataclass(frozen=True)
class Signature:
    """The signature of some cells, and which of its markers it is made of."""

    score_n: np.ndarray | None
    """Mean z of the markers that go up minus that of those that go down; float64. None where no marker varies."""
    used: tuple[str, ...]
    """Markers that were measured and vary among these cells, as the config names them."""
    unused: tuple[str, ...]
    """Markers that were not, or do not."""


def signature(counts_ng: sparse.csr_matrix, var: pd.DataFrame, up: Sequence[str], down: Sequence[str]) -> Signature:
    """Return the signed marker signature of cells, z-scored among them.

        s_i = mean over up of z_ig − mean over down of z_ig,   z_ig = (x_ig − mean_g) / sd_g,

    where x = log1p(10,000 · count / counts of the cell). A list without a marker adds nothing.

    Parameters
    ----------
    counts_ng
        Raw counts, cells × all genes.
    var
        The genes: the index are Ensembl ids, `feature_name` symbols.
    up, down
        Markers, symbols or Ensembl ids.
    """
    places = {name: i for i, name in reversed(list(enumerate(var["feature_name"].astype(str))))}
    places |= {name: i for i, name in enumerate(var.index.astype(str))}
    total_n = np.maximum(np.asarray(counts_ng.sum(axis=1, dtype=np.float64)).ravel(), 1)
    names = [name for name in (*up, *down) if name in places]
    x_nm = np.log1p(counts_ng[:, [places[name] for name in names]].toarray() * (1e4 / total_n)[:, None])
    # Not by the standard deviation, which rounding keeps from being 0.
    varies_m = np.ptp(x_nm, axis=0) > 0
    z_nm = (x_nm - x_nm.mean(axis=0)) / np.where(varies_m, x_nm.std(axis=0), 1)
    used = [name for name, varies in zip(names, varies_m, strict=True) if varies]
    unused = tuple(name for name in (*up, *down) if name not in used)
    if not used:
        return Signature(None, (), unused)
    sides = [[names.index(name) for name in side if name in used] for side in (up, down)]
    up_n, down_n = (z_nm[:, side].mean(axis=1) if side else np.zeros(len(z_nm)) for side in sides)
    return Signature(up_n - down_n, tuple(used), unused)


@dataclass(frozen=True)
class DonorTest:
    """Whether donors, not cells, say that clusters differ between cases and controls."""

    samples: int = 0
    """Samples: the cells of a donor that are of one kind."""
    p_c: np.ndarray | None = None
    """p of each cluster; float64."""
    reason: str = ""
    """Why there is none."""


def enrichment(
    cluster_n: np.ndarray, score_n: np.ndarray, case_n: np.ndarray, donor_n: np.ndarray, seed: int
) -> tuple[pd.DataFrame, DonorTest]:
    """Return what each cluster's signature is and how many of its cells are cases'.

    By cells: Fisher's exact test, two-sided, of cluster against rest and cases against controls; the odds ratio after
    0.5 is added to each count (Haldane and Anscombe), with Woolf's interval. Cells of a donor are no independent
    samples, so these p are far too small where donors differ; `donor_test` takes donors as samples. Both p are
    corrected over clusters by Benjamini and Hochberg.

    Parameters
    ----------
    cluster_n
        Cluster of each cell, from 0.
    score_n
        Signature of each cell.
    case_n
        bool, (cells,): cases; the others are controls. There are both.
    donor_n
        Donor of each cell, text; empty for unknown.
    seed
        Seed of permutations, where not all are taken.

    Returns
    -------
    pd.DataFrame
        One row per cluster: cluster, cells, cases, case_share, share_of_cases, share_of_controls, signature,
        signature_se (over cells), odds_ratio, odds_low, odds_high, p_cells, q_cells, donors (with cells there),
        p_donors, q_donors (NaN where donors cannot tell).
    DonorTest
        What p_donors is made of.
    """
    from scipy import stats

    groups = pd.DataFrame({"score": score_n, "case": case_n}).groupby(cluster_n)
    cells, cases = groups.size().to_numpy(), groups["case"].sum().to_numpy()
    others, all_cases = cells - cases, case_n.sum()
    counts_4c = (cases, others, all_cases - cases, (~case_n).sum() - others)
    odds, odds_low, odds_high = woolf(*counts_4c)
    p_cells = [stats.fisher_exact(counts_4.reshape(2, 2)).pvalue for counts_4 in np.stack(counts_4c, axis=1)]
    known = donor_n != ""
    donors = pd.Series(donor_n[known]).groupby(cluster_n[known]).nunique().reindex(range(len(cells)), fill_value=0)
    test = donor_test(cluster_n, case_n, donor_n, seed)
    p_donors = np.full(len(cells), np.nan) if test.p_c is None else test.p_c
    table = pd.DataFrame(
        {
            "cluster": np.arange(len(cells)),
            "cells": cells,
            "cases": cases,
            "case_share": cases / cells,
            "share_of_cases": cases / all_cases,
            "share_of_controls": others / (~case_n).sum(),
            "signature": groups["score"].mean().to_numpy(),
            "signature_se": groups["score"].sem().to_numpy(),
            "odds_ratio": odds,
            "odds_low": odds_low,
            "odds_high": odds_high,
            "p_cells": p_cells,
            "q_cells": adjusted(p_cells, "fdr_bh"),
            "donors": donors.to_numpy(),
            "p_donors": p_donors,
            "q_donors": adjusted(p_donors, "fdr_bh"),
        }
    )
    return table, test


def donor_test(cluster_n: np.ndarray, case_n: np.ndarray, donor_n: np.ndarray, seed: int) -> DonorTest:
    """Test by permutation whether the samples of cases have another share of their cells in a cluster than controls'.

    A sample is the cells of a donor that are of one kind. The statistic is the difference of mean shares, two-sided.
    Samples are permuted among cases and controls; where every donor is both, the kinds are swapped within donors.

    Parameters
    ----------
    cluster_n, case_n, donor_n, seed
        As for `enrichment`.
    """
    from scipy import stats

    known = donor_n != ""
    if not known.all():
        return DonorTest(reason=f"the donor of {(~known).sum()} of {len(known)} cells is not known")
    count_sc = pd.crosstab([pd.Series(donor_n, name="donor"), pd.Series(case_n, name="case")], cluster_n)
    share_sc = count_sc.div(count_sc.sum(axis=1), axis=0)
    cases, controls = (share_sc.xs(kind, level="case") for kind in (True, False))
    both = cases.index.intersection(controls.index)
    paired = len(both) == len(cases) == len(controls)
    if len(both) and not paired:
        return DonorTest(len(share_sc), reason=f"{len(both)} donors are both case and control and others are not")
    if min(len(cases), len(controls)) < 2:
        return DonorTest(len(share_sc), reason=f"{len(cases)} samples of cases and {len(controls)} of controls")
    found = stats.permutation_test(
        (cases.to_numpy(), controls.to_numpy()),
        lambda x_sc, y_sc, axis: x_sc.mean(axis=axis) - y_sc.mean(axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        axis=0,
        rng=np.random.default_rng(seed),
    )
    return DonorTest(len(share_sc), np.atleast_1d(found.pvalue))


def explained(score_n: np.ndarray, cluster_n: np.ndarray, seed: int) -> Score:
    """Return the share of the signature's variance that lies between clusters (η²), with its interval.

    η² = Σ_c n_c (mean_c − mean)² / Σ_i (s_i − mean)²: 0 where all clusters have the same mean, 1 where all cells of a
    cluster have the same signature. The interval is of resampled cells, the clusters left as they are.
    """
    indicator_nc = sparse.csr_matrix((np.ones(len(cluster_n)), (np.arange(len(cluster_n)), cluster_n)))
    weight_sn = np.vstack([np.ones(len(score_n)), bootstrap_weights(len(score_n), seed)])
    size_sc, sum_sc = weight_sn @ indicator_nc, (weight_sn * score_n) @ indicator_nc
    between_s = (sum_sc**2 / np.maximum(size_sc, 1)).sum(axis=1) - sum_sc.sum(axis=1) ** 2 / len(score_n)
    all_s = weight_sn @ score_n**2 - sum_sc.sum(axis=1) ** 2 / len(score_n)
    error = np.std(between_s[1:] / all_s[1:], ddof=1)
    return standard_errors(between_s[0] / all_s[0], error, f"1.96 standard errors of {CELL_SAMPLES} bootstraps")

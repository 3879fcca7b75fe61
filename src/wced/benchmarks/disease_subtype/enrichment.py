"""What a cluster of cells has to do with a disease: a marker signature, and the share of cases, by cells and donors."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse, stats

from wced.stats import CELL_SAMPLES, Score, adjusted, bootstrap_weights, standard_errors, woolf

PERMUTATIONS = 9999
"""Most permutations of donors; where there are fewer ways, each is taken once."""


def signature(
    counts_ng: sparse.csr_matrix, var: pd.DataFrame, up: Sequence[str], down: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Return the signed marker signature of cells (float64), and the markers that are measured and vary among them.

        s_i = mean over up of z_ig − mean over down of z_ig,   z_ig = (x_ig − mean_g) / sd_g,

    where x = log1p(10,000 · count / counts of the cell). A side without such a marker adds nothing. Markers are symbols
    (`feature_name` of the genes) or Ensembl ids (their index).
    """
    # An Ensembl id comes before a symbol, and the first gene of a symbol before the others.
    column_of = {name: i for i, name in reversed(list(enumerate(var["feature_name"].astype(str))))}
    column_of |= {name: i for i, name in enumerate(var.index.astype(str))}
    total_n = np.maximum(np.asarray(counts_ng.sum(axis=1, dtype=np.float64)).ravel(), 1)
    signature_n, used = np.zeros(counts_ng.shape[0]), []
    for sign, side in ((1, up), (-1, down)):
        markers = [name for name in side if name in column_of]
        x_nm = np.log1p(counts_ng[:, [column_of[name] for name in markers]].toarray() * (1e4 / total_n)[:, None])
        varies_m = np.ptp(x_nm, axis=0) > 0  # the standard deviation of equal numbers may be above 0 by rounding
        x_nm = x_nm[:, varies_m]
        if varies_m.any():
            signature_n += sign * ((x_nm - x_nm.mean(axis=0)) / x_nm.std(axis=0)).mean(axis=1)
        used += [name for name, varies in zip(markers, varies_m, strict=True) if varies]
    return signature_n, used


def enrichment(
    cluster_n: np.ndarray, signature_n: np.ndarray, case_n: np.ndarray, donor_n: np.ndarray, seed: int
) -> tuple[pd.DataFrame, int, str]:
    """Return the signature of each cluster and how many of its cells are cases'.

    By cells: Fisher's exact test, two-sided, of cluster against rest and cases against controls; the odds ratio after
    0.5 is added to each count (Haldane and Anscombe), with Woolf's interval. Cells of a donor are no independent
    samples, so these p are far too small where donors differ; `donor_test` takes donors as samples. Both p are
    corrected over clusters by Benjamini and Hochberg.

    Clusters count from 0, `case_n` says which cells are cases and which controls (there are both), `donor_n` is empty
    where a donor is unknown.

    Returned are one row per cluster (`signature_se` is over cells, `p_donors` and `q_donors` may be NaN), the number of
    samples of `donor_test`, and why there is no such test; empty where there is one.
    """
    groups = pd.DataFrame({"signature": signature_n, "case": case_n}).groupby(cluster_n)
    cells, cases = groups.size().to_numpy(), groups["case"].sum().to_numpy()
    others, all_cases = cells - cases, case_n.sum()
    counts_4c = (cases, others, all_cases - cases, (~case_n).sum() - others)
    odds, odds_low, odds_high = woolf(*counts_4c)
    p_cells = [stats.fisher_exact(counts_4.reshape(2, 2)).pvalue for counts_4 in np.stack(counts_4c, axis=1)]
    known = donor_n != ""
    donors = pd.Series(donor_n[known]).groupby(cluster_n[known]).nunique().reindex(range(len(cells)), fill_value=0)
    p_donors, samples, reason = donor_test(cluster_n, case_n, donor_n, seed)
    table = pd.DataFrame(
        {
            "cluster": np.arange(len(cells)),
            "cells": cells,
            "cases": cases,
            "case_share": cases / cells,
            "share_of_cases": cases / all_cases,
            "share_of_controls": others / (~case_n).sum(),
            "signature": groups["signature"].mean().to_numpy(),
            "signature_se": groups["signature"].sem().to_numpy(),
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
    return table, samples, reason


def donor_test(
    cluster_n: np.ndarray, case_n: np.ndarray, donor_n: np.ndarray, seed: int
) -> tuple[np.ndarray, int, str]:
    """Test by permutation whether the samples of cases have another share of their cells in a cluster than controls'.

    A sample is the cells of a donor that are of one kind. The statistic is the difference of mean shares, two-sided.
    Samples are permuted among cases and controls; where every donor is both, the kinds are swapped within donors.
    Returned are p of each cluster (NaN without a test), the number of samples, and why there is no test.
    """
    untested = np.full(cluster_n.max() + 1, np.nan)
    unknown = (donor_n == "").sum()
    if unknown:
        return untested, 0, f"the donor of {unknown} of {len(donor_n)} cells is not known"
    count_sc = pd.crosstab([pd.Series(donor_n, name="donor"), pd.Series(case_n, name="case")], cluster_n)
    share_sc = count_sc.div(count_sc.sum(axis=1), axis=0)
    cases, controls = (share_sc.xs(kind, level="case") for kind in (True, False))
    both = cases.index.intersection(controls.index)
    paired = len(both) == len(cases) == len(controls)
    if len(both) and not paired:
        return untested, len(share_sc), f"{len(both)} donors are both case and control and others are not"
    if min(len(cases), len(controls)) < 2:
        return untested, len(share_sc), f"{len(cases)} samples of cases and {len(controls)} of controls"
    test = stats.permutation_test(
        (cases.to_numpy(), controls.to_numpy()),
        lambda x_sc, y_sc, axis: x_sc.mean(axis=axis) - y_sc.mean(axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        axis=0,
        rng=np.random.default_rng(seed),
    )
    return np.atleast_1d(test.pvalue), len(share_sc), ""


def explained(signature_n: np.ndarray, cluster_n: np.ndarray, seed: int) -> Score:
    """Return the share of the signature's variance that lies between clusters (η²), with its interval.

    η² = Σ_c n_c (mean_c − mean)² / Σ_i (s_i − mean)²: 0 where all clusters have the same mean, 1 where all cells of a
    cluster have the same signature. The interval is of resampled cells, the clusters left as they are.
    """
    indicator_nc = sparse.csr_matrix((np.ones(len(cluster_n)), (np.arange(len(cluster_n)), cluster_n)))
    weight_sn = np.vstack([np.ones(len(signature_n)), bootstrap_weights(len(signature_n), seed)])
    size_sc, sum_sc = weight_sn @ indicator_nc, (weight_sn * signature_n) @ indicator_nc
    mean_square_s = sum_sc.sum(axis=1) ** 2 / len(signature_n)
    between_s = (sum_sc**2 / np.maximum(size_sc, 1)).sum(axis=1) - mean_square_s
    eta_s = between_s / (weight_sn @ signature_n**2 - mean_square_s)
    error = np.std(eta_s[1:], ddof=1)
    return standard_errors(eta_s[0], error, f"1.96 standard errors of {CELL_SAMPLES} bootstraps")

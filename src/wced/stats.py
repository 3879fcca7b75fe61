"""Values with 95% intervals, corrections for many tests, and the one rule for which of two values is better.

All intervals of the package are made here, from values that a benchmark computes on all cells or on bootstrap samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

SAMPLES = 1000
"""Bootstrap samples behind an interval of percentiles."""
CELL_SAMPLES = 200
"""Bootstrap samples of cells behind a standard error, for metrics that take longer."""
DATASET_SAMPLES = 10_000
"""Bootstrap samples of datasets, where there are too many to use each possible sample once."""
CELLS = (
    f"1.96 standard errors of {CELL_SAMPLES} bootstraps over cells, the clustering and each cell's neighbours, "
    "silhouette and piece fixed"
)
"""Method of the interval of `over_cells` with one seed."""


@dataclass(frozen=True)
class Score:
    """A value with its 95% interval, or the reason why there is no value; numbers that do not exist are NaN."""

    value: float = np.nan
    ci_low: float = np.nan
    """Lower end of the interval."""
    ci_high: float = np.nan
    """Upper end of the interval."""
    ci_method: str = ""
    reason: str = ""
    n: int | None = None
    """Cells scored, where they are not those of the other scores."""


def missing(reason: str) -> Score:
    """Return the score that could not be computed."""
    return Score(reason=reason)


def bootstrap_weights(n: int, seed: int, samples: int = CELL_SAMPLES) -> np.ndarray:
    """Return how often each of n cells is in each sample of n cells with replacement, (samples, n), float32."""
    rng = np.random.default_rng((seed, n))
    weight_sn = np.empty((samples, n), dtype=np.float32)
    for weight_n in weight_sn:
        weight_n[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return weight_sn


def bootstrap_counts(count_u: np.ndarray, seed: int) -> np.ndarray:
    """Return how many cells of each kind each sample has, (samples, kinds), int64, from the numbers of all cells.

    Cells of a kind are exchangeable, so the numbers of kinds are sampled (multinomial), never single cells.
    """
    n = int(count_u.sum())
    return np.random.default_rng((seed, n)).multinomial(n, count_u / n, size=SAMPLES)


def percentiles(value: float, sampled_b: np.ndarray, over: str, n: int | None = None) -> Score:
    """Return a value with the 2.5% and 97.5% percentiles of its defined values in `SAMPLES` samples of `over`."""
    low, high = np.percentile(sampled_b, [2.5, 97.5])
    return Score(float(value), float(low), float(high), f"percentiles of {SAMPLES} bootstraps over {over}", n=n)


def over_datasets(value_d: np.ndarray) -> Score:
    """Return the mean over datasets with its bootstrap interval; of 2 to 5, each possible sample is used once."""
    n = len(value_d)
    if n < 2:
        return Score(float(value_d[0]) if n else np.nan)
    if n <= 5:
        sample_bd = np.indices((n,) * n).reshape(n, -1).T
        how = f"percentiles of all {n**n} resamples of {n} datasets"
    else:
        sample_bd = np.random.default_rng(n).integers(n, size=(DATASET_SAMPLES, n))
        how = f"percentiles of {DATASET_SAMPLES} bootstraps over {n} datasets"
    low, high = np.percentile(value_d[sample_bd].mean(axis=1), [2.5, 97.5])
    return Score(float(np.mean(value_d)), float(low), float(high), how)


def defined_percentiles(value_r: np.ndarray) -> tuple[float, float]:
    """Return the 2.5% and 97.5% percentiles of the samples that have a value; NaN if fewer than half of them do.

    They are samples themselves (nearest rank): an average with an infinite odds ratio would mean nothing.
    """
    defined_r = value_r[~np.isnan(value_r)]
    if 2 * len(defined_r) < len(value_r) or len(defined_r) == 0:
        return np.nan, np.nan
    low, high = np.quantile(defined_r, (0.025, 0.975), method="inverted_cdf")
    return float(low), float(high)


def standard_errors(
    value: float,
    error: float,
    method: str,
    *,
    freedom: float | None = None,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    n: int | None = None,
) -> Score:
    """Return a value ± its standard error times 1.96, or times the 97.5% quantile of Student's t.

    `freedom` are the degrees of freedom of t, None for the normal distribution; the interval stays within `bounds`.
    """
    from scipy.stats import t

    times = 1.96 if freedom is None else t.ppf(0.975, freedom)
    low, high = max(value - times * error, bounds[0]), min(value + times * error, bounds[1])
    return Score(float(value), float(low), float(high), method, n=n)


def over_cells(value_c: np.ndarray, sampled_s: np.ndarray) -> Score:
    """Return the mean over seeds of the clustering, with the interval of the variance over cells and over seeds.

    With the value v_c on all cells for each of C seeds (one where it has none), and the bootstrap `sampled_s` of their
    mean,

        V_cells = variance of the bootstrap, V_seeds = variance of v_c / C (both with n - 1),
        interval = mean of v_c ± t √(V_cells + V_seeds),

    t the 97.5% quantile of Student's t with (V_cells + V_seeds)² (C - 1) / V_seeds² degrees of freedom (Welch and
    Satterthwaite: a variance of few seeds is itself uncertain). With one seed, V_seeds is left out, and t is 1.96.

    Percentiles of the bootstrap would be wrong: a cell sampled twice agrees with itself, so that NMI and ARI of samples
    lie above those of the cells.
    """
    seeds, cells = len(value_c), float(np.var(sampled_s, ddof=1))
    between, method = 0.0, CELLS
    if seeds > 1:
        between = float(np.var(value_c, ddof=1)) / seeds
        method = f"t interval of the variance of {CELL_SAMPLES} bootstraps over cells plus that of the mean over "
        method += f"{seeds} seeds of the clustering"
    freedom = (cells + between) ** 2 * (seeds - 1) / between**2 if between > 0 else np.inf
    return standard_errors(float(np.mean(value_c)), np.sqrt(cells + between), method, freedom=freedom)


def wilson(hits: int, n: int, method: str = "Wilson") -> Score:
    """Return the share of hits with Wilson's interval."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, n, method="wilson")
    return Score(hits / n, float(low), float(high), method, n=n)


def hanley_mcneil(auc: float, positives: int, negatives: int) -> Score:
    """Return the area under a ROC curve with the interval of Hanley and McNeil (1982, Radiology 143:29-36)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (q1 - auc**2) + (negatives - 1) * (q2 - auc**2)
    error = (variance / (positives * negatives)) ** 0.5
    return standard_errors(auc, error, "Hanley and McNeil", bounds=(0.0, 1.0), n=positives + negatives)


def odds_ratio(hits: np.ndarray, n: np.ndarray, hits_against: np.ndarray, n_against: np.ndarray) -> np.ndarray:
    """Return the odds of a hit in a group over those in the group compared with; NaN for 0 / 0. Broadcasts."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (hits * (n_against - hits_against)) / ((n - hits) * hits_against)


def exact_odds(table_22: np.ndarray) -> tuple[Score, float]:
    """Return the odds ratio of a 2 × 2 table with the interval that Fisher's exact test inverts to, and the test's p.

    Columns are hits and others; rows are a group and the one it is compared with.
    """
    from scipy.stats import contingency, fisher_exact

    # The point estimate is the sample's, as in the BMFM-RNA paper, not the conditional one.
    low, high = contingency.odds_ratio(table_22, kind="conditional").confidence_interval(0.95)
    (hits, hits_against), (n, n_against) = table_22[:, 0], table_22.sum(axis=1)
    value = float(odds_ratio(hits, n, hits_against, n_against))
    return Score(value, float(low), float(high), "conditional, exact"), float(fisher_exact(table_22).pvalue)


def woolf(
    hits: np.ndarray, others: np.ndarray, hits_against: np.ndarray, others_against: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return odds ratios after 0.5 is added to each count (Haldane and Anscombe), and the ends of Woolf's intervals."""
    a, b, c, d = (count + 0.5 for count in (hits, others, hits_against, others_against))
    log_odds, half = np.log(a * d / (b * c)), 1.96 * np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return np.exp(log_odds), np.exp(log_odds - half), np.exp(log_odds + half)


def adjusted(p: Sequence[float], method: str) -> np.ndarray:
    """Return p-values corrected by statsmodels' `multipletests`, `holm` or `fdr_bh`; NaN are no tests and stay NaN."""
    from statsmodels.stats.multitest import multipletests

    corrected = np.array(p, dtype=np.float64)
    tested = ~np.isnan(corrected)
    if tested.any():
        corrected[tested] = multipletests(corrected[tested], method=method)[1]
    return corrected


def outcome(low: float, high: float) -> str:
    """Return `better`, `worse`, `tie` where the 95% interval of a difference holds zero, or `unknown` without one."""
    if np.isnan([low, high]).any():
        return "unknown"
    return "better" if low > 0 else "worse" if high < 0 else "tie"


def outcome_of(a: Score | pd.Series, b: Score | pd.Series) -> str:
    """Return `outcome` of two values, higher being better: they differ where their own intervals do not overlap.

    That is stricter than the interval of the difference, which has to be known for `outcome`.
    """
    return outcome(a.ci_low - b.ci_high, a.ci_high - b.ci_low)

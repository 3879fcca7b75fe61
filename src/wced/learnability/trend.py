"""Relative learnability: how a gene's error compares with that of other genes of the same sparsity.

With zero fraction s and rescaled MAE e of a gene (BMFM-RNA paper, section 10):

    Z = (log e - f(s)) / σ(s),

where f is a non-decreasing isotonic regression and σ the standard deviation of the residuals in a sliding window around
s. A winner has Z < -2 and e more than 10% below exp f(s); a loser Z > 2 and e more than 10% above it.
"""

from dataclasses import dataclass

import numpy as np

from wced.config.learnability import Learnability


@dataclass(frozen=True)
class Axis:
    """Zero fractions of genes, prepared once for any number of fits on them. The genes keep their order."""

    zero_fraction_g: np.ndarray
    """float64."""
    order_g: np.ndarray
    """Genes by ascending zero fraction."""
    low_g: np.ndarray
    """Where in `order_g` the window around each gene of `order_g` begins."""
    high_g: np.ndarray
    """Where it ends."""


@dataclass(frozen=True)
class Fit:
    """Trend, local standard deviation and calls of one set of errors; arrays in the order of the genes."""

    trend_g: np.ndarray
    """Expected log rescaled MAE; NaN without an error."""
    spread_g: np.ndarray
    """Local standard deviation of the log errors around the trend; NaN where the window has too few genes."""
    z_g: np.ndarray
    """NaN where there is no error or no local standard deviation."""
    difference_g: np.ndarray
    """Rescaled MAE minus the trend's, as a share of the trend's or in its own unit (`practical_scale`)."""
    winner_g: np.ndarray
    """bool."""
    loser_g: np.ndarray
    """bool."""
    explained: float
    """Share of the variance of the log errors that the trend explains."""


def axis_of(zero_fraction_g: np.ndarray, window: float) -> Axis:
    """Return the axis of genes for windows of that width in zero fraction."""
    zero_fraction_g = np.asarray(zero_fraction_g, np.float64)
    order_g = np.argsort(zero_fraction_g, kind="stable")
    sorted_g = zero_fraction_g[order_g]
    low_g = np.searchsorted(sorted_g, sorted_g - window / 2, "left")
    high_g = np.searchsorted(sorted_g, sorted_g + window / 2, "right")
    return Axis(zero_fraction_g, order_g, low_g, high_g)


def fit(axis: Axis, error_g: np.ndarray, section: Learnability) -> Fit:
    """Fit the trend of rescaled MAEs and call winners and losers.

    Genes whose error is not above 0 take no part: their logarithm is not finite.
    """
    error_g = np.asarray(error_g, np.float64)
    log_g = np.log(np.where(error_g > 0, error_g, np.nan))
    y_g = log_g[axis.order_g]
    trend_g = _isotonic(axis, y_g) if section.trend == "isotonic" else _lowess(axis, y_g, section, robust=3)
    residual_g = y_g - trend_g
    if section.spread == "windows":
        spread_g = window_spread(axis, residual_g, section.window_genes)
    else:
        # Robust rounds would take the largest squares for outliers, and the variance is mostly made of them.
        variance_g = _lowess(axis, residual_g**2, section, robust=0)
        spread_g = np.sqrt(np.where(variance_g > 0, variance_g, np.nan))
    back = np.argsort(axis.order_g)
    trend_g, residual_g, spread_g = trend_g[back], residual_g[back], spread_g[back]
    with np.errstate(invalid="ignore", divide="ignore"):
        z_g = np.where(spread_g > 0, residual_g / spread_g, np.nan)
    expected_g = np.exp(trend_g)
    difference_g = error_g - expected_g if section.practical_scale == "absolute" else error_g / expected_g - 1
    mean = np.nansum(log_g) / max(np.isfinite(log_g).sum(), 1)
    variation = np.nansum((log_g - mean) ** 2)
    return Fit(
        trend_g=trend_g,
        spread_g=spread_g,
        z_g=z_g,
        difference_g=difference_g,
        winner_g=(z_g < -section.z) & (difference_g < -section.practical),
        loser_g=(z_g > section.z) & (difference_g > section.practical),
        explained=float(1 - np.nansum(residual_g**2) / variation) if variation > 0 else np.nan,
    )


def window_spread(axis: Axis, residual_g: np.ndarray, fewest: int) -> np.ndarray:
    """Return the standard deviation (n - 1) of the residuals in each gene's window; NaN with fewer genes than `fewest`.

    Residuals and result are in the order `axis.order_g`; NaN residuals take no part.
    """
    known_g = np.isfinite(residual_g)
    value_g = np.where(known_g, residual_g, 0)
    running = np.cumsum(np.pad([known_g, value_g, value_g**2], ((0, 0), (1, 0))), axis=1)
    n_g, sum_g, square_g = running[:, axis.high_g] - running[:, axis.low_g]
    with np.errstate(invalid="ignore", divide="ignore"):
        variance_g = (square_g - sum_g**2 / n_g) / (n_g - 1)
    return np.sqrt(np.where(n_g >= fewest, np.maximum(variance_g, 0), np.nan))


def _isotonic(axis: Axis, y_g: np.ndarray) -> np.ndarray:
    from sklearn.isotonic import isotonic_regression

    trend_g, known_g = np.full(len(y_g), np.nan), np.isfinite(y_g)
    if known_g.any():
        # Genes of one zero fraction have one trend: regressing their mean, weighted by their number, is the same.
        x_g = axis.zero_fraction_g[axis.order_g][known_g]
        _, level_g, weight_u = np.unique(x_g, return_inverse=True, return_counts=True)
        mean_u = np.bincount(level_g, y_g[known_g]) / weight_u
        trend_g[known_g] = isotonic_regression(mean_u, sample_weight=weight_u)[level_g]
    return trend_g


def _lowess(axis: Axis, y_g: np.ndarray, section: Learnability, robust: int) -> np.ndarray:
    from statsmodels.nonparametric.smoothers_lowess import lowess

    smooth_g, known_g = np.full(len(y_g), np.nan), np.isfinite(y_g)
    if known_g.sum() > 2:
        x_g = axis.zero_fraction_g[axis.order_g][known_g]
        # Between points nearer than delta the curve is a straight line: 200 local regressions instead of 19,000.
        delta = np.ptp(x_g) / 200
        smooth_g[known_g] = lowess(
            y_g[known_g], x_g, frac=section.lowess_fraction, it=robust, delta=delta, return_sorted=False
        )
    return smooth_g

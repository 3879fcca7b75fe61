import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from statsmodels.nonparametric.smoothers_lowess import lowess

from wced.config.learnability import Learnability
from wced.learnability.trend import axis_of, fit, window_spread


def section(**changed) -> Learnability:
    return Learnability(**({"window_genes": 3} | changed))


def by_loops(zero_fraction, error, changed: Learnability):
    """Trend by scikit-learn's estimator, spread and Z gene by gene."""
    known = np.isfinite(error) & (error > 0)
    y = np.full(len(error), np.nan)
    y[known] = np.log(error[known])
    trend = np.full(len(error), np.nan)
    trend[known] = IsotonicRegression().fit(zero_fraction[known], y[known]).predict(zero_fraction[known])
    spread = np.full(len(error), np.nan)
    for g in range(len(error)):
        near = known & (np.abs(zero_fraction - zero_fraction[g]) <= changed.window / 2)
        if near.sum() >= changed.window_genes:
            spread[g] = np.std((y - trend)[near], ddof=1)
    return trend, spread


@given(
    st.lists(
        st.tuples(st.integers(0, 32), st.floats(0.01, 2) | st.just(0.0) | st.just(np.nan)), min_size=4, max_size=60
    ),
    st.sampled_from([0.0625, 0.25, 2.0]),
)
def test_trend_spread_and_z_are_those_of_loops(genes, window):
    # Thirty-seconds are exact in binary, so that a window's edge is the same in both.
    zero_fraction = np.array([zero for zero, _ in genes]) / 32
    error = np.array([value for _, value in genes])
    changed = section(window=window)
    fitted = fit(axis_of(zero_fraction, window), error, changed)
    trend, spread = by_loops(zero_fraction, error, changed) if np.nansum(error) > 0 else (np.nan, np.nan)
    np.testing.assert_allclose(fitted.trend_g, np.broadcast_to(trend, len(error)), atol=1e-12)
    where = np.isfinite(fitted.trend_g)
    np.testing.assert_allclose(fitted.spread_g[where], np.broadcast_to(spread, len(error))[where], atol=1e-7)
    z = (np.log(error[where]) - fitted.trend_g[where]) / np.where(fitted.spread_g > 0, fitted.spread_g, np.nan)[where]
    np.testing.assert_allclose(fitted.z_g[where], z)
    assert np.isnan(fitted.z_g[~where]).all() and not fitted.winner_g[~where].any()


def test_trend_by_hand_pools_what_falls():
    # log errors 1, 3, 2, 4: the middle two pool to 2.5; squares of residuals 0 + 0.25 + 0.25 + 0, of y around 2.5: 5.
    fitted = fit(axis_of([0.1, 0.2, 0.3, 0.4], 2), np.exp([1.0, 3, 2, 4]), section())
    np.testing.assert_allclose(fitted.trend_g, [1, 2.5, 2.5, 4])
    np.testing.assert_allclose(fitted.spread_g, np.sqrt(0.5 / 3))
    assert fitted.explained == pytest.approx(0.9)


def test_order_of_the_genes_does_not_matter():
    rng = np.random.default_rng(0)
    zero_fraction, error = rng.random(200), np.exp(rng.normal(size=200))
    mixed = rng.permutation(200)
    one, two = (fit(axis_of(zero_fraction[o], 0.2), error[o], section()) for o in (np.arange(200), mixed))
    np.testing.assert_allclose(one.z_g[mixed], two.z_g)


def planted(**changed):
    """Genes of one sparsity with log errors ±0.1 around 0, one at -0.3, and one at 0.3; 102 in all."""
    log_error = np.concatenate([np.tile([-0.1, 0.1], 50), [-0.3, 0.3]])
    return fit(axis_of(np.full(102, 0.8), 0.1), np.exp(log_error), section(**changed))


@pytest.mark.parametrize(
    ("changed", "winners", "losers"),
    [
        pytest.param({}, 1, 1, id="Z is 2.8, errors differ by 26% and 35%"),
        pytest.param({"z": 2.9}, 0, 0, id="Z too small"),
        pytest.param({"practical": 0.3}, 0, 1, id="26% is not 30%"),
        pytest.param({"practical": 0.3, "practical_scale": "absolute"}, 0, 1, id="0.26 and 0.35"),
        pytest.param({"practical": 0.36, "practical_scale": "absolute"}, 0, 0, id="neither is 0.36"),
        pytest.param({"window_genes": 103}, 0, 0, id="too few genes to judge"),
    ],
)
def test_winners_need_both_a_small_z_and_a_practical_difference(changed, winners, losers):
    fitted = planted(**changed)
    # ss = 100 * 0.01 + 2 * 0.09 = 1.18, sd = sqrt(1.18 / 101)
    if "window_genes" not in changed:
        assert fitted.z_g[-1] == pytest.approx(0.3 / np.sqrt(1.18 / 101))
    assert (fitted.winner_g.sum(), fitted.loser_g.sum()) == (winners, losers)
    assert not fitted.winner_g[:-2].any() and not fitted.loser_g[:-1].any()


def test_absolute_differences_are_in_units_of_the_error():
    relative, absolute = planted(), planted(practical_scale="absolute")
    np.testing.assert_allclose(relative.difference_g[-2], np.exp(-0.3) - 1)
    np.testing.assert_allclose(absolute.difference_g, relative.difference_g * np.exp(relative.trend_g))


def test_lowess_is_that_of_statsmodels():
    rng = np.random.default_rng(1)
    x = np.sort(rng.random(300))
    y = x + 0.1 * rng.standard_normal(300)
    fitted = fit(axis_of(x, 0.1), np.exp(y), section(trend="lowess", spread="lowess", lowess_fraction=0.3))
    trend = lowess(y, x, frac=0.3, it=3, delta=np.ptp(x) / 200, return_sorted=False)
    variance = lowess((y - trend) ** 2, x, frac=0.3, it=0, delta=np.ptp(x) / 200, return_sorted=False)
    np.testing.assert_allclose(fitted.trend_g, trend, rtol=1e-9)
    np.testing.assert_allclose(fitted.spread_g, np.sqrt(variance), rtol=1e-9)
    # The scatter that was put in.
    assert np.median(fitted.spread_g) == pytest.approx(0.1, rel=0.15)


def test_spread_needs_enough_genes_with_an_error():
    axis = axis_of([0.1, 0.11, 0.12, 0.9], 0.1)
    residual = np.array([1.0, 2.0, np.nan, 5.0])
    np.testing.assert_allclose(window_spread(axis, residual, 2), [np.sqrt(0.5)] * 3 + [np.nan])
    assert np.isnan(window_spread(axis, residual, 3)).all()


@pytest.mark.parametrize("error", [[], [0.5], [np.nan, np.nan], [0.0, 0.0]], ids=["none", "one", "no error", "zero"])
def test_too_few_genes_give_no_z(error):
    for changed in (section(), section(trend="lowess", spread="lowess")):
        fitted = fit(axis_of(np.linspace(0.1, 0.2, len(error)), 0.1), np.array(error), changed)
        assert np.isnan(fitted.z_g).all() and np.isnan(fitted.explained)

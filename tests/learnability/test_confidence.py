import numpy as np
import pandas as pd
import pytest

from learnability.simulated import annotation, write_checkpoint
from wced import tables
from wced.config.learnability import Learnability
from wced.errors import WcedError
from wced.learnability.confidence import bootstrap, read_sums
from wced.learnability.trend import axis_of, fit
from wced.stats import defined_percentiles

ROWS = pd.DataFrame(
    [
        ("wced", 1, "a", 0, "g1", 1, 0.1),
        ("wced", 2, "a", 0, "g1", 2, 0.2),
        ("wced", 2, "a", 0, "g2", 3, 0.3),
        ("wced", 2, "a", 15, "g2", 4, 0.4),
        ("wced", 2, "b", 0, "g1", 5, 0.5),
        ("wced", 2, "b", 0, "g3", 6, 0.6),
        ("mlm", 2, "b", 0, "g1", 7, 0.7),
    ],
    columns=["decoder", "epoch", "dataset", "part", "gene_id", "n_nonzero", "sum_abs_error"],
).assign(
    checkpoint="m", n=10, sum_abs_error_ungated=0.0, sum_prediction=0.0, sum_squared_value=0.0,
    sum_abs_error_null=lambda rows: rows["n_nonzero"] * 0.5, sum_value=lambda rows: rows["n_nonzero"] * 2.0,
)  # fmt: skip


@pytest.mark.parametrize("row_group_size", [1, 3, 100])
def test_sums_of_one_decoder_and_epoch_in_the_order_of_the_genes(tmp_path, row_group_size):
    path = tmp_path / "sums.parquet"
    tables.checked(ROWS, tables.GENE_ERROR_SUMS).to_parquet(path, row_group_size=row_group_size)
    n_nonzero_bg, error_bg, null_bg, value_bg = read_sums(path, "wced", 2, pd.Index(["g2", "g1", "never"]))
    # blocks a 0, a 15 and b 0
    np.testing.assert_array_equal(n_nonzero_bg, [[3, 2, 0], [4, 0, 0], [0, 5, 0]])
    np.testing.assert_allclose(error_bg, [[0.3, 0.2, 0], [0.4, 0, 0], [0, 0.5, 0]])
    np.testing.assert_allclose(null_bg, n_nonzero_bg * 0.5)
    np.testing.assert_allclose(value_bg, n_nonzero_bg * 2)


@pytest.mark.parametrize(
    ("rows", "epoch", "words"),
    [
        pytest.param(ROWS, 3, "no rows of decoder wced and epoch 3", id="epoch"),
        pytest.param(ROWS.drop(columns="sum_value"), 2, "column sum_value of gene_error_sums is missing", id="column"),
        pytest.param(None, 2, "no such file", id="file"),
    ],
)
def test_bad_files_are_named(tmp_path, rows, epoch, words):
    path = tmp_path / "sums.parquet"
    if rows is not None:
        rows.to_parquet(path)
    with pytest.raises(WcedError, match=f"sums.parquet: {words}"):
        read_sums(path, "wced", epoch, pd.Index(["g1"]))


def test_bootstraps_are_those_of_loops():
    rng = np.random.default_rng(0)
    n_blocks, n_genes = 12, 60
    n_bg = rng.integers(0, 3, (n_blocks, n_genes)).astype(float)
    sums = np.array([n_bg, n_bg * rng.random((n_blocks, n_genes)), n_bg * 0.4, n_bg * 1.5])
    axis = axis_of(rng.random(n_genes), 0.5)
    section = Learnability(bootstraps=20, window_genes=5)
    samples = bootstrap(sums, axis, section, seed=3)
    counts = np.random.default_rng(3).multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=20)
    for r in range(20):
        blocks = np.repeat(np.arange(n_blocks), counts[r])
        error, null, value = sums[1:, blocks].sum(axis=1)
        known = value > 0
        np.testing.assert_allclose(samples.error_rg[r][known], error[known] / value[known])
        np.testing.assert_allclose(samples.improvement_rg[r][known], 1 - error[known] / null[known])
        assert np.isnan(samples.error_rg[r][~known]).all()
        alone = fit(axis, samples.error_rg[r], section)
        np.testing.assert_array_equal(samples.winner_rg[r], alone.winner_g)
        assert samples.explained_r[r] == alone.explained


def test_equal_blocks_leave_nothing_uncertain():
    value = np.tile(np.linspace(0.1, 1, 50), (10, 1))
    sums = np.array([np.ones((10, 50)), value, np.ones((10, 50)), np.ones((10, 50))])
    samples = bootstrap(sums, axis_of(np.linspace(0, 1, 50), 0.5), Learnability(bootstraps=25), seed=0)
    np.testing.assert_allclose(samples.error_rg, np.tile(value[0], (25, 1)))
    np.testing.assert_allclose(samples.explained_r, 1)


def test_interval_is_of_the_samples_that_have_a_value():
    assert defined_percentiles(np.arange(1000) / 1000) == (0.024, 0.974)
    assert defined_percentiles(np.array([1.0, 2.0, np.inf, np.inf])) == (1.0, np.inf)
    assert np.isnan(defined_percentiles(np.array([1.0, np.nan, np.nan]))).all()


def test_the_interval_of_the_median_holds_that_of_all_cells(tmp_path):
    write_checkpoint(tmp_path / "m", annotation(400), blocks=64)
    last = tables.read(tables.GENE_ERRORS, tmp_path / "m" / "gene_errors.parquet").query("epoch == 3")
    sums = read_sums(tmp_path / "m" / "gene_error_sums.parquet", "wced", 3, pd.Index(last["gene_id"]))
    known = last["rescaled_mae"].notna().to_numpy()
    whole = sums[1].sum(axis=0)[known] / sums[3].sum(axis=0)[known]
    np.testing.assert_allclose(whole, last["rescaled_mae"][known])
    samples = bootstrap(sums, axis_of(last["zero_fraction"], 0.1), Learnability(), seed=0)
    low, high = defined_percentiles(np.nanmedian(samples.error_rg, axis=1))
    assert low < last["rescaled_mae"].median() < high < low + 0.05

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from wced import tables
from wced.pretraining.gene_errors import GeneErrors, auc_of_histograms
from wced.pretraining.gene_statistics import nonzero
from wced.shards.vocabulary import Vocabulary

G = 6
VOCABULARY = Vocabulary(tuple(f"E{i}" for i in range(G)), tuple("ABCDEF"))


def predictions(m=20_000, seed=0):
    """Predictions of five of six genes; gene 3 is always expressed, gene 4 never, gene 5 is not predicted."""
    rng = np.random.default_rng(seed)
    gene = rng.integers(0, 5, m)
    expressed = (rng.random(m) < np.array([0.5, 0.1, 0.9, 1.0, 0.0])[gene]).astype(bool)
    target = np.where(expressed, rng.gamma(2, 1, m) + 0.01, 0).astype(np.float32)
    spread, gap = np.array([1.0, 2.0, 0.5, 1.0, 1.0])[gene], np.array([1.0, 0.3, 2.0, 0.0, 0.0])[gene]
    logit = (rng.normal(0, spread) + gap * expressed + np.array([0, -3, 2, 4, -5])[gene]).astype(np.float32)
    value = (target + rng.normal(0, 1, m)).astype(np.float32)
    return gene, logit, value, target


def table_of(parts, zero_fraction=None):
    errors = GeneErrors(G)
    for part in parts:
        errors.update(*(torch.tensor(array) for array in part))
    gene, _, _, target = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    null = nonzero(lambda: [(gene[target > 0], target[target > 0])], G)
    fraction = np.linspace(0, 1, G) if zero_fraction is None else zero_fraction
    return errors.table("m", 2, VOCABULARY, fraction, null)


def test_table_equals_brute_force():
    gene, logit, value, target = part = predictions()
    table = table_of([part]).set_index("gene_id")
    assert list(table.index) == ["E0", "E1", "E2", "E3", "E4"]  # only genes that were predicted
    for g in range(5):
        row, here = table.loc[f"E{g}"], gene == g
        z, v, t = logit[here].astype(np.float64), value[here].astype(np.float64), target[here].astype(np.float64)
        y = t > 0
        assert (row["n"], row["n_nonzero"]) == (len(t), y.sum())
        if 0 < y.sum() < len(y):
            assert row["detection_auc"] == pytest.approx(roc_auc_score(y, z), abs=2e-3)
        else:
            assert np.isnan(row["detection_auc"])
        if y.any():
            assert row["nonzero_mae_ungated"] == pytest.approx(np.abs(v - t)[y].mean(), rel=1e-5)
            assert row["nonzero_mae"] == pytest.approx(np.abs(np.where(z > 0, v, 0) - t)[y].mean(), rel=1e-5)
            assert row["mean_nonzero"] == pytest.approx(t[y].mean(), rel=1e-6)
            assert row["null_mae"] == pytest.approx(np.abs(t[y] - t[y].mean()).mean(), rel=1e-6)
            assert row["rescaled_mae"] == pytest.approx(row["nonzero_mae"] / row["mean_nonzero"])
            assert row["rescaled_null_mae"] == pytest.approx(row["null_mae"] / row["mean_nonzero"])
        else:
            assert row[["nonzero_mae", "nonzero_mae_ungated", "null_mae", "rescaled_mae"]].isna().all()


@pytest.mark.parametrize(("spread", "within"), [(0.05, 0.015), (0.2, 2e-3), (3.0, 5e-4)], ids="spread={}".format)
def test_auc_of_logits_that_differ_little(spread, within):
    rng = np.random.default_rng(8)
    y = rng.random(20_000) < 0.3
    logit = (-1.3 + spread * (rng.normal(size=len(y)) + y)).astype(np.float32)
    table = table_of([(np.zeros(len(y), int), logit, logit, y.astype(np.float32))])
    assert table["detection_auc"][0] == pytest.approx(roc_auc_score(y, logit), abs=within)


def test_table_is_one_of_gene_errors():
    table = tables.checked(table_of([predictions(500)]), tables.GENE_ERRORS)
    assert set(table["checkpoint"]) == {"m"} and set(table["epoch"]) == {2}
    assert table["gene_symbol"].tolist() == list("ABCDE")
    np.testing.assert_allclose(table["zero_fraction"], np.linspace(0, 1, G)[:5])


def test_batches_add_up():
    whole = predictions(3000)
    parts = [tuple(array[i::7] for array in whole) for i in range(7)]
    left, right = table_of([whole]), table_of(parts)
    np.testing.assert_allclose(
        left.select_dtypes("number").to_numpy(), right.select_dtypes("number").to_numpy(), rtol=1e-12
    )


def test_reset_forgets():
    errors = GeneErrors(G)
    errors.update(*(torch.tensor(array) for array in predictions(100)))
    errors.reset()
    assert all((sums == 0).all() for sums in errors.buffers())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_extreme_logits_are_counted_at_the_ends(dtype):
    errors = GeneErrors(1)
    logit = torch.tensor([-1e4, -17.0, 17.0, 1e4], dtype=dtype)
    errors.update(torch.zeros(4, dtype=torch.long), logit, torch.ones(4, dtype=dtype), torch.tensor([0.0, 0, 1, 1]))
    null = nonzero(lambda: [(np.array([0, 0]), np.array([1.0, 1.0]))], 1)
    row = errors.table("m", 1, Vocabulary(("E0",), ("A",)), np.zeros(1), null).iloc[0]
    assert row["detection_auc"] == 1 and row["nonzero_mae"] == 0


@pytest.mark.parametrize(
    ("negative", "positive", "auc"),
    [
        ([3, 0, 0], [0, 0, 2], 1.0),
        ([0, 0, 3], [2, 0, 0], 0.0),
        ([0, 5, 0], [0, 7, 0], 0.5),
        ([1, 1, 0], [0, 1, 1], 0.875),
        ([0, 0, 0], [1, 0, 0], np.nan),
        ([1, 0, 0], [0, 0, 0], np.nan),
    ],
    ids=["all_right", "all_wrong", "ties", "mixed", "no_negatives", "no_positives"],
)
def test_auc_of_histograms(negative, positive, auc):
    found = auc_of_histograms(np.array([negative], float), np.array([positive], float))
    np.testing.assert_array_equal(found, [auc])

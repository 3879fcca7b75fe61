import anndata as ad
import numpy as np
import pandas as pd
import pytest

from wced.pretraining.gene_statistics import cell_values, masked_values, measured_cells, nonzero
from wced.shards.batches import BatchDataset
from wced.shards.encode import Encoding
from wced.shards.kernels import TARGET_SUM
from wced.shards.reader import ShardSet


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture(scope="module")
def validation_ng(made, shards):
    """log1p_10k of the validation cells, dense, from the harmonised files."""
    harmonised = ad.concat([ad.read_h5ad(path) for path in made.sources], join="outer", fill_value=0)
    cells = pd.read_parquet(made.cells)
    joinids = cells.loc[cells["split"] == "validation", "soma_joinid"].to_numpy()
    x_ng = harmonised[joinids, list(shards.vocabulary.gene_ids)].X.toarray().astype(np.float64)
    return np.log1p(x_ng / x_ng.sum(axis=1, keepdims=True) * TARGET_SUM)


def test_nonzero_equals_numpy():
    rng = np.random.default_rng(0)
    gene, value = rng.integers(0, 9, 1000), rng.gamma(1, 1, 1000)
    gene[gene == 4] = 5
    blocks = [(gene[i::3], value[i::3]) for i in range(3)]
    found = nonzero(lambda: iter(blocks), 10)
    for g in range(10):
        mine = value[gene == g]
        assert found.n[g] == len(mine)
        if len(mine):
            assert found.mean[g] == pytest.approx(mine.mean())
            assert found.null_mae[g] == pytest.approx(np.abs(mine - mine.mean()).mean())
        else:
            assert np.isnan([found.mean[g], found.null_mae[g]]).all()


def test_values_of_a_split_are_those_of_its_cells(shards, validation_ng):
    found = nonzero(cell_values(shards, "validation"), len(shards.vocabulary))
    np.testing.assert_array_equal(found.n, (validation_ng > 0).sum(axis=0))
    expected = np.where(validation_ng > 0, validation_ng, np.nan)
    expressed = found.n > 0
    np.testing.assert_allclose(found.mean[expressed], np.nanmean(expected[:, expressed], axis=0), rtol=1e-6)


def test_masked_values_are_those_the_model_is_scored_on(shards, validation_ng):
    encoding = Encoding(length=40, zeros="interleave", select=1.0, mask=0.5)
    dataset = BatchDataset(shards, "validation", encoding, batch_size=16, training=True, seed=2)
    values = masked_values(dataset)
    gene, value = (np.concatenate(arrays) for arrays in zip(*values(), strict=True))
    n = nonzero(values, len(shards.vocabulary)).n
    assert 0 < len(value) < 40 * len(validation_ng) and (value > 0).all()
    assert n.sum() == len(value) and (n <= (validation_ng > 0).sum(axis=0)).all()
    for g, v in zip(gene[:200], value[:200], strict=True):
        assert np.abs(validation_ng[:, g] - v).min() < 1e-5


def test_measured_cells_counts_cells_by_what_their_dataset_measured(made, shards):
    cells = pd.read_parquet(made.cells)
    counts = cells.loc[cells["split"] == "validation", "dataset_id"].astype(str).value_counts()
    found = measured_cells(shards, "validation")
    for place, gene in enumerate(shards.vocabulary.gene_ids):
        measured = [name for d, name in enumerate(shards.dataset_ids) if shards.measured_dv[d, place]]
        assert found[place] == counts[measured].sum(), gene
    assert len(set(found)) > 1

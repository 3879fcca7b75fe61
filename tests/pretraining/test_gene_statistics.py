import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from memory_source import MemorySource
from wced.config.pretraining import Input, Masked
from wced.pretraining.gene_statistics import (
    PARTS,
    ValueSums,
    blocks_of,
    blocks_of_datasets,
    cell_values,
    masked_values,
    part_of,
)
from wced.shards.batches import BatchDataset
from wced.shards.counter_random import mixed
from wced.shards.encode import Encoding
from wced.shards.kernels import TARGET_SUM
from wced.shards.reader import ShardSet


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture(scope="module")
def blocks(shards):
    return blocks_of(shards, "validation")


@pytest.fixture(scope="module")
def cells(made):
    frame = pd.read_parquet(made.cells)
    return frame[frame["split"] == "validation"]


@pytest.fixture(scope="module")
def validation_ng(made, shards, cells):
    """log1p_10k of the validation cells, dense, from the harmonised files."""
    harmonised = ad.concat([ad.read_h5ad(path) for path in made.sources], join="outer", fill_value=0)
    x_ng = harmonised[cells["soma_joinid"].to_numpy(), list(shards.vocabulary.gene_ids)].X.toarray().astype(np.float64)
    return np.log1p(x_ng / x_ng.sum(axis=1, keepdims=True) * TARGET_SUM)


def by_block(block_n, values_ng, count):
    sums = np.zeros((count, values_ng.shape[1]))
    np.add.at(sums, block_n, values_ng)
    return sums


def test_sums_of_a_split_are_those_of_its_cells(shards, blocks, cells, validation_ng):
    values = cell_values(shards, "validation", blocks)
    codes = pd.Index(shards.dataset_ids).get_indexer(cells["dataset_id"].astype(str))
    block_n = blocks.of(codes, cells["soma_joinid"].to_numpy())
    assert len(set(block_n)) > 20
    np.testing.assert_array_equal(values.n_bg, by_block(block_n, shards.measured_dv[codes], len(blocks)))
    expressed, count = validation_ng > 0, len(blocks)
    mean_g = np.array([x[x > 0].mean() if (x > 0).any() else 0 for x in validation_ng.T])
    deviation_ng = np.abs(validation_ng - mean_g) * expressed
    np.testing.assert_array_equal(values.nonzero_bgs[..., 0], by_block(block_n, expressed, count))
    for i, x_ng in ((1, validation_ng), (2, validation_ng**2), (3, deviation_ng)):
        np.testing.assert_allclose(values.nonzero_bgs[..., i], by_block(block_n, x_ng, count), rtol=1e-5, atol=1e-5)
    some = expressed.any(axis=0)
    np.testing.assert_allclose(values.mean_g[some], mean_g[some], rtol=1e-6)
    std_g = [x[x > 0].std() for x in validation_ng.T[some]]
    np.testing.assert_allclose(values.std_g[some], std_g, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(values.null_mae_g[some], deviation_ng.sum(0)[some] / expressed.sum(0)[some], rtol=1e-5)
    assert np.isnan(values.mean_g[~some]).all() and np.isnan(values.null_mae_g[~some]).all() and not some.all()


def test_measured_genes_alone_count(shards, cells):
    values = cell_values(shards, "validation")
    per_dataset = cells["dataset_id"].astype(str).value_counts().reindex(list(shards.dataset_ids), fill_value=0)
    np.testing.assert_array_equal(values.n_g, per_dataset.to_numpy() @ shards.measured_dv)
    share_g = np.divide(values.n_nonzero_g, values.n_g, out=np.full(len(values.n_g), np.nan), where=values.n_g > 0)
    np.testing.assert_allclose(values.zero_fraction_g, 1 - share_g)
    assert len(set(values.n_g)) > 1


def test_one_block_and_no_null(shards, blocks):
    split, whole = cell_values(shards, "train", blocks_of(shards, "train")), cell_values(shards, "train", null=False)
    assert whole.n_bg.shape[0] == 1 and np.isnan(whole.null_mae_g).all()
    np.testing.assert_array_equal(whole.n_g, split.n_g)
    np.testing.assert_array_equal(whole.n_nonzero_g, split.n_nonzero_g)
    np.testing.assert_allclose(whole.mean_g, split.mean_g, rtol=1e-12)


def test_errors_are_scaled_by_the_deviation_of_genes_that_enough_cells_express():
    wide, narrow, single = np.linspace(1, 5, 21), np.linspace(1, 1.1, 21), np.full(30, 0.3)
    values = [wide, wide[:20], narrow, single, np.zeros(0)]
    sums = ValueSums(np.full((1, 5), 40), np.array([[[len(x), x.sum(), (x**2).sum(), np.nan] for x in values]]))
    assert sums.error_scale_g.dtype == np.float32
    np.testing.assert_allclose(sums.error_scale_g, [wide.std(), 1, 0.1, 0.1, 1], rtol=1e-6)


def test_masked_values_are_those_the_model_is_scored_on(shards, blocks, validation_ng):
    encoding = Encoding(Input(length=40, zeros="interleave"), Masked(mask=0.5))
    dataset = BatchDataset(shards, "validation", encoding, batch_size=16, training=True, seed=2)
    values = masked_values(dataset, blocks)
    shape = (len(blocks), len(shards.vocabulary))
    n_bg, sums = np.zeros(shape, int), np.zeros((*shape, 3))
    for step in range(len(dataset)):
        batch = {name: tensor.numpy() for name, tensor in dataset[0, step].items()}
        block_n = blocks.of(batch["dataset"], batch["soma_joinid"])
        for i, k in np.argwhere(batch["masked"]):
            at, x = (block_n[i], batch["gene"][i, k]), float(batch["position_target"][i, k])
            n_bg[at] += 1
            sums[at] += (x > 0, x, x * x)
    np.testing.assert_array_equal(values.n_bg, n_bg)
    np.testing.assert_allclose(values.nonzero_bgs[..., :3], sums, rtol=1e-12)
    assert 0 < n_bg.sum() <= 40 * len(validation_ng)
    with np.errstate(invalid="ignore"):
        mean_g = sums.sum(0)[:, 1] / sums.sum(0)[:, 0]
    np.testing.assert_allclose(values.mean_g, mean_g)
    deviation = np.zeros(len(mean_g))
    for step in range(len(dataset)):
        batch = dataset[0, step]
        gene, x = batch["gene"][batch["masked"]].numpy(), batch["position_target"][batch["masked"]].numpy()
        np.add.at(deviation, gene[x > 0], np.abs(x.astype(float) - mean_g[gene])[x > 0])
    some = values.n_nonzero_g > 0
    np.testing.assert_allclose(values.null_mae_g[some], deviation[some] / values.n_nonzero_g[some])


def test_part_is_splitmix_of_the_joinid():
    joinid = np.concatenate([np.arange(300), np.random.default_rng(0).integers(0, 2**62, 300)])
    with np.errstate(over="ignore"):
        expected = [int(mixed.py_func(np.uint64(j)) % np.uint64(PARTS)) for j in joinid]
    assert part_of(torch.from_numpy(joinid)).tolist() == expected


def test_parts_of_neighbouring_cells_are_about_as_large():
    sizes = np.bincount(part_of(torch.arange(16_000)).numpy(), minlength=PARTS)
    assert len(sizes) == PARTS and abs(sizes - 1000).max() < 150


@pytest.mark.parametrize(("datasets", "slots"), [(1, 1), (16, 16), (17, 16), (40, 16)])
def test_at_most_256_blocks(datasets, slots):
    names = tuple(f"d{i}" for i in range(datasets + 3))
    codes = np.arange(3, datasets + 3)  # the first three datasets have no cells
    blocks = blocks_of_datasets(names, codes)
    assert len(blocks) == PARTS * slots and (blocks.slot_d[:3] == -1).all()
    shared = [name.split(";") for name in blocks.names]
    assert sorted(name for mine in shared for name in mine) == sorted(names[3:])
    for slot, mine in enumerate(shared):
        assert all(blocks.slot_d[names.index(name)] == slot for name in mine)
    dataset, joinid = np.repeat(codes, 50), np.arange(50 * datasets)
    block = blocks.of(dataset, joinid)
    assert (block // PARTS == blocks.slot_d[dataset]).all()
    assert (block % PARTS == part_of(torch.from_numpy(joinid)).numpy()).all()


def test_blocks_of_a_split_are_those_of_its_datasets():
    source = MemorySource([1, 0, 1, 0, 0], dataset=[0, 1, 2, 3, 3])
    source.dataset_ids = ["a", "b", "c", "d"]
    blocks = blocks_of(source, "validation")
    assert blocks.names == ("b", "d") and blocks.slot_d.tolist() == [-1, 0, -1, 1]

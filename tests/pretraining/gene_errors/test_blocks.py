import numpy as np
import pytest
import torch

from memory_source import MemorySource
from wced.pretraining.gene_errors.blocks import PARTS, blocks_of, blocks_of_datasets, part_of
from wced.shards.counter_random import mixed


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

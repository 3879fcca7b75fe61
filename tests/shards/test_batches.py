import pytest
import torch

from wced.shards.batches import BatchDataset, BatchLoader
from wced.shards.encode import Encoding
from wced.shards.reader import ShardSet

ENCODING = Encoding(length=24, dropout=0.2, zeros="interleave", select=1.0, mask=0.9)


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture
def dataset(shards):
    def make(split="train", batch_size=50, shuffle=True, training=True, seed=1):
        return BatchDataset(
            shards, split, ENCODING, batch_size=batch_size, shuffle=shuffle, training=training, seed=seed
        )

    return make


def cells(batches):
    """Identities of the cells of some batches, in order."""
    return [joinid for batch in batches for joinid in batch["soma_joinid"].tolist()]


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_each_epoch_has_every_cell_once_in_its_own_order(shards, dataset):
    train = sorted(shards.soma_joinid[shards.cells_of("train")].tolist())
    loader = BatchLoader(dataset())
    epochs = [cells(loader) for _ in range(3)]
    assert all(sorted(epoch) == train for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, train]}) == 4
    assert [cells(BatchLoader(dataset(seed=seed))) == epochs[0] for seed in (1, 2)] == [True, False]


def test_a_batch_is_whole_and_its_size_is_kept(dataset):
    batches = list(BatchLoader(dataset()))
    sizes = [len(batch["length"]) for batch in batches]
    assert sizes[:-1] == [50] * (len(sizes) - 1) and 0 < sizes[-1] <= 50
    for batch in batches:
        assert batch["gene"].dtype == torch.int64 and batch["value"].dtype == torch.float32
        assert batch["gene"].shape == batch["masked"].shape
        assert batch["target_offsets"][-1] == len(batch["target_gene"]) == len(batch["target_value"])


@pytest.mark.parametrize("training", [True, False], ids=["masked", "plain"])
def test_validation_is_the_same_in_order_each_time(shards, dataset, training):
    loader = BatchLoader(dataset("validation", shuffle=False, training=training))
    first, second = list(loader), list(loader)
    assert cells(first) == shards.soma_joinid[shards.cells_of("validation")].tolist()
    assert all(same(left, right) for left, right in zip(first, second, strict=True))


@pytest.mark.parametrize("batch_size", [50, 486, 37], ids="batch_size={}".format)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_share_an_epoch_in_equal_parts(dataset, ranks, batch_size):
    loaders = [BatchLoader(dataset(batch_size=batch_size), rank=rank, ranks=ranks) for rank in range(ranks)]
    alone = cells(BatchLoader(dataset(batch_size=batch_size)))
    batches = [list(loader) for loader in loaders]
    assert len({len(part) for part in batches} | {len(loader) for loader in loaders}) == 1
    together = [joinid for part in batches for joinid in cells(part)]
    assert set(together) == set(alone)
    number = -(-len(alone) // batch_size)
    repeated = -number % ranks  # batches that fill up the last turn
    assert len(together) <= len(alone) + repeated * batch_size


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_validate_every_cell_once(shards, dataset, ranks):
    parts = [
        cells(BatchLoader(dataset("validation", 13, shuffle=False), rank=rank, ranks=ranks)) for rank in range(ranks)
    ]
    together = sorted(joinid for part in parts for joinid in part)
    assert together == shards.soma_joinid[shards.cells_of("validation")].tolist()


@pytest.mark.parametrize("stop", [1, 4, 9, 10, 13], ids="stop={}".format)
def test_a_loader_goes_on_with_the_very_next_batch(dataset, stop):
    whole = BatchLoader(dataset())
    expected = [batch for _ in range(3) for batch in whole]
    assert len(whole) == 10
    first = BatchLoader(dataset())
    seen, state = [], None
    while state is None:  # stop in the first or second epoch
        for batch in first:
            seen.append(batch)
            if len(seen) == stop:
                state = first.state_dict()
                break
    assert state == {"epoch": stop // 11, "done": (stop - 1) % 10 + 1}
    second = BatchLoader(dataset())
    second.load_state_dict(state)
    assert second.state_dict()["done"] == state["done"] % 10
    while len(seen) < 30:
        seen.extend(second)
    assert len(seen) == 30
    assert all(same(left, right) for left, right in zip(seen, expected, strict=True))


def test_reading_takes_no_global_random_number(dataset):
    before = torch.get_rng_state()
    list(BatchLoader(dataset()))
    assert torch.equal(before, torch.get_rng_state())

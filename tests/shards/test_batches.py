import pickle
import threading
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from count_cells import encoding
from memory_source import MemorySource, order
from wced.shards.batches import BatchDataset, BatchKey, BatchLoader, choice_probabilities
from wced.shards.reader import ShardSet

ENCODING = encoding(length=24, dropout=0.2, zeros="interleave", mlm={"mask": 0.9})


@pytest.fixture(scope="module")
def shards(made):
    return ShardSet(made.shards)


@pytest.fixture
def dataset(shards):
    def make(split="train", encoding=ENCODING, **options):
        options = {"batch_size": 50, "order": order(), "training": True, "seed": 1} | options
        return BatchDataset(shards, split, encoding, **options)

    return make


def memory_dataset(source, batch_size, encoding=None, order=None):
    return BatchDataset(source, "train", encoding, batch_size=batch_size, training=True, seed=1, order=order)


def cells(batches):
    """Identities of the cells of some batches, in order."""
    return [joinid for batch in batches for joinid in batch["soma_joinid"].tolist()]


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def joinids(shards, split):
    return shards.column("soma_joinid", shards.places(split)).tolist()


def test_each_epoch_has_every_cell_once_in_its_own_order(shards, dataset):
    train = joinids(shards, "train")
    loader = BatchLoader(dataset())
    epochs = [cells(loader) for _ in range(3)]
    assert len(loader) == 10
    assert all(sorted(epoch) == train for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, train]}) == 4


def test_validation_is_the_same_every_time_and_in_the_order_of_the_shards(shards, dataset):
    loader = BatchLoader(dataset("validation", batch_size=13, order=None))
    first, second = list(loader), list(loader)
    assert cells(first) == joinids(shards, "validation")
    assert all(same(left, right) for left, right in zip(first, second, strict=True))


@pytest.mark.parametrize("strategy", ["sequential", "shuffled", "weighted", "round_robin"])
@pytest.mark.parametrize("n", [3, 4, 5, 64, 97, 1000], ids="n={}".format)
@pytest.mark.parametrize("batch_size", [1, 7, 64], ids="batch_size={}".format)
def test_ranks_share_an_epoch_exactly(strategy, n, batch_size):
    source = MemorySource(np.ones(n, bool), np.arange(n) % 5)
    made = memory_dataset(source, batch_size, order=order(strategy))
    whole = made.order.cells(0, n, 2 * n).tolist()
    for ranks in (1, 2, 3):
        steps = made.steps(ranks)
        sizes, epoch = [], []
        for step in range(steps):
            parts = [made.cells(BatchKey(1, step, rank, ranks)) for rank in range(ranks)]
            sizes += [len(part) for part in parts]
            epoch.append(sorted(np.concatenate(parts).tolist()))
        # Every cell once, in the order of the epoch but for the dealing out; batches of equal sizes, none empty.
        assert sorted(place for step in epoch for place in step) == sorted(whole)
        bounds = n * np.arange(steps + 1) // steps
        assert epoch == [sorted(whole[a:b]) for a, b in pairwise(bounds)]
        assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1 and max(sizes) <= max(batch_size, 2)


def test_two_ranks_of_half_the_batch_see_the_same_cells():
    source = MemorySource(np.ones(1003, bool))
    one, two = (memory_dataset(source, size, order=order()) for size in (64, 32))
    assert one.steps(1) == two.steps(2)
    for step in range(one.steps(1)):
        halves = [two.cells(BatchKey(0, step, rank, 2)) for rank in (0, 1)]
        assert sorted(np.concatenate(halves)) == sorted(one.cells(BatchKey(0, step)))


def test_fewer_cells_than_ranks_are_refused():
    source = MemorySource(np.ones(3, bool))
    with pytest.raises(ValueError, match="3 cells cannot be shared by 4 ranks"):
        memory_dataset(source, 2).steps(4)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_buckets_hold_cells_of_similar_length(ranks):
    nonzeros = np.random.default_rng(3).integers(1, 400, 3000)
    source = MemorySource(np.ones(3000, bool), nonzeros=nonzeros)
    plain, bucketed = (memory_dataset(source, 16, encoding(length=300), order(bucket_steps=steps)) for steps in (1, 20))
    padding, epochs = [], []
    for made in (plain, bucketed):
        found = [made.cells(BatchKey(0, *at, ranks)) for at in product(range(made.steps(ranks)), range(ranks))]
        lengths = [np.minimum(nonzeros[cells], 300) for cells in found]
        padding.append(sum(len(own) * own.max() - own.sum() for own in lengths) / sum(own.sum() for own in lengths))
        epochs.append(sorted(np.concatenate(found)))
        assert {len(own) for own in found} <= {15, 16}
    assert epochs[0] == epochs[1] == list(range(3000))
    assert padding[1] < padding[0] / 5
    # Short batches do not come before long ones.
    means = [nonzeros[bucketed.cells(BatchKey(0, step))].mean() for step in range(20)]
    assert 3 < (np.diff(means) > 0).sum() < 16
    # Windows may be asked for in any order.
    again = bucketed.cells(BatchKey(0, 3)).tolist()
    bucketed.cells(BatchKey(1, 50))
    assert bucketed.cells(BatchKey(0, 3)).tolist() == again


def test_batches_of_raw_counts(shards, dataset):
    made = dataset(encoding=None)
    batch = made[0, 2]
    expected = shards.take(made.cells(BatchKey(0, 2)))
    assert {name: tensor.numpy().tolist() for name, tensor in batch.items()} == {
        name: array.tolist() for name, array in vars(expected).items() if array is not None
    }


@pytest.fixture(params=["mixed", "one_dataset"])
def make_dataset(request, dataset):
    """Give a maker of the same dataset again and again."""
    if request.param == "mixed":
        return dataset
    by_dataset = order("weighted", batches="one_dataset", block_cells=8, buffer_blocks=5, bucket_steps=2)
    source = MemorySource(np.arange(600) % 5 > 0, np.arange(600) // 200, np.arange(600) % 40)
    return lambda: memory_dataset(source, 32, encoding(length=16, dropout=0.2), by_dataset)


@pytest.mark.parametrize("stop", [0, 1, 4, 9, 10, 13], ids="stop={}".format)
def test_a_loader_goes_on_with_the_very_next_batch(make_dataset, stop):
    whole = BatchLoader(make_dataset())
    steps = len(whole)
    stop += steps - 10 if stop > 8 else 0  # around the end of the epoch
    expected = [batch for _ in range(3) for batch in whole]
    first, seen = BatchLoader(make_dataset(), workers=2), []
    while len(seen) < stop:  # stop in the first or second epoch
        for batch in first:
            seen.append(batch)
            if len(seen) == stop:
                break
    state = first.state_dict()
    epoch, done = divmod(max(stop - 1, 0), steps)
    assert state == {"epoch": epoch, "done": done + (stop > 0)}
    second = BatchLoader(pickle.loads(pickle.dumps(make_dataset())))
    second.load_state_dict(state)
    assert second.state_dict()["done"] == state["done"] % steps
    while len(seen) < 3 * steps:
        seen.extend(second)
    assert all(same(left, right) for left, right in zip(seen, expected, strict=True))


def chosen_of(batches, genes):
    """How often positions of each gene are there, and how often they are chosen."""
    there, chosen = np.zeros(genes), np.zeros(genes)
    for batch in batches:
        at = torch.arange(batch["gene"].shape[1]) < batch["length"][:, None]
        there += np.bincount(batch["gene"][at], minlength=genes)
        chosen += np.bincount(batch["gene"][at & batch["masked"]], minlength=genes)
    return there, chosen


def test_genes_of_more_weight_are_chosen_more_often(shards, dataset):
    masks = {"select": 0.3, "mask": 1.0}
    chosen = encoding(length=200, dropout=0.2, zeros="interleave", mlm=masks, cell_target=False)
    made, genes = dataset(encoding=chosen), len(shards.vocabulary)
    weights_g = np.random.default_rng(0).choice([0.0, 1.0, 3.0], genes, p=[0.2, 0.5, 0.3])
    made.set_gene_weights(weights_g)
    there, chosen = chosen_of((batch for _ in range(8) for batch in BatchLoader(made)), genes)
    assert chosen.sum() / there.sum() == pytest.approx(0.3, rel=0.03)
    share = {weight: chosen[weights_g == weight].sum() / there[weights_g == weight].sum() for weight in (0, 1, 3)}
    assert share[0] == 0 and share[3] / share[1] == pytest.approx(3, rel=0.05)


def test_weights_change_nothing_but_the_choice_and_travel_with_the_dataset(shards, dataset):
    plain, weighted = dataset(), dataset()
    weights_g = np.arange(len(shards.vocabulary)) % 4
    weighted.set_gene_weights(weights_g)
    one, other = plain[1, 3], weighted[1, 3]
    assert not torch.equal(one.pop("masked"), other.pop("masked")) and same(one, other)
    assert same(pickle.loads(pickle.dumps(weighted))[1, 3], weighted[1, 3])
    weighted.set_gene_weights(None)
    assert same(plain[1, 3], weighted[1, 3])
    # Equal weights are a uniform choice.
    weighted.set_gene_weights(np.ones(len(shards.vocabulary)))
    assert same(plain[1, 3], weighted[1, 3])


@pytest.mark.parametrize(
    "options", [{"training": False}, {"encoding": None}, {"encoding": encoding(length=9)}],
    ids=["no_training", "raw", "no_masking"],
)  # fmt: skip
def test_weights_without_a_choice_are_refused(shards, dataset, options):
    with pytest.raises(ValueError, match=r"^genes can only have weights where training chooses"):
        dataset(**options).set_gene_weights(np.ones(len(shards.vocabulary)))


def test_reading_takes_no_global_random_number(dataset):
    before = torch.get_rng_state()
    list(BatchLoader(dataset()))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("stop", [0, 1, 7], ids="stop={}".format)
def test_stopping_early_leaves_no_thread(dataset, stop):
    for number, _ in enumerate(BatchLoader(dataset(), workers=3)):
        if number == stop:
            break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_a_fault_in_a_worker_is_not_lost(dataset, monkeypatch):
    made = dataset()
    monkeypatch.setattr(made.source, "views", lambda cells: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(iter(BatchLoader(made, workers=2)))


def test_workers_make_the_same_batches(dataset):
    alone, helped = BatchLoader(dataset()), BatchLoader(dataset(), workers=2)
    for _ in range(2):
        assert all(same(left, right) for left, right in zip(alone, helped, strict=True))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.tuples(st.just(0.0) | st.floats(1e-6, 100.0), st.integers(1, 1000)), min_size=1, max_size=40),
    st.floats(0.0, 1.0),
)
def test_the_share_is_kept_and_chances_are_in_proportion_as_far_as_they_can_be(genes, select):
    weights_g, positions_g = (np.array(column, np.float64) for column in zip(*genes, strict=True))
    chosen_g = choice_probabilities(weights_g, positions_g, select)
    assert ((chosen_g >= 0) & (chosen_g <= 1)).all() and (chosen_g[weights_g == 0] == 0).all()
    share = (chosen_g * positions_g).sum() / positions_g.sum()
    most = positions_g[weights_g > 0].sum() / positions_g.sum()
    assert share == pytest.approx(min(select, most), abs=1e-9)
    # One factor for all genes that are not certain to be chosen; the certain ones would be above 1 with it.
    part = (weights_g > 0) & (chosen_g < 1)
    if part.any() and select > 1e-6:
        factor = chosen_g[part] / weights_g[part]
        np.testing.assert_allclose(factor, factor[0], rtol=1e-9)
        assert (weights_g[(weights_g > 0) & ~part] * factor[0] >= 1 - 1e-9).all() or share < select


def test_equal_weights_choose_uniformly():
    np.testing.assert_allclose(choice_probabilities(np.full(5, 7.0), np.arange(1, 6), 0.3), 0.3)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, np.nan], [np.inf, 1.0], [1.0]], ids=str)
def test_invalid_weights_are_refused(weights):
    with pytest.raises(ValueError, match=r"^weights of 2 genes must be"):
        choice_probabilities(np.array(weights), np.ones(2), 0.5)

"""Batches of one dataset each."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_source import MemorySource, order
from wced.shards.batches import BatchDataset, BatchKey

STRATEGIES = ["shuffled", "weighted"]


def source(n=2000, datasets=5, seed=0, mixed=False):
    """Cells of datasets of very unequal size, sorted by dataset as in a Census, or mixed."""
    rng = np.random.default_rng(seed)
    dataset = rng.choice(datasets, n, p=0.5 ** np.arange(datasets) / (0.5 ** np.arange(datasets)).sum())
    labels = {"type": rng.geometric(0.4, n).clip(max=6) - 2}
    dataset = dataset if mixed else np.sort(dataset)
    return MemorySource(rng.random(n) < 0.8, dataset, rng.integers(0, 40, n), labels=labels)


SMALL = {"batches": "one_dataset", "block_cells": 8, "buffer_blocks": 5}


def batches(cells, strategy="shuffled", batch_size=16, seed=3, **section):
    own = order(strategy, columns=("dataset_id", "type"), **SMALL, **section)
    return BatchDataset(cells, "train", None, batch_size=batch_size, training=True, seed=seed, order=own)


def step_cells(made, epoch, step, ranks=1):
    return np.concatenate([made.cells(BatchKey(epoch, step, rank, ranks)) for rank in range(ranks)])


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    n=st.integers(8, 900), datasets=st.integers(1, 9), batch_size=st.integers(1, 70), ranks=st.integers(1, 4),
    bucket_steps=st.integers(1, 4), epoch_cells=st.none() | st.integers(8, 1500), seed=st.integers(0, 99),
    mixed=st.booleans(),
)  # fmt: skip
def test_every_step_is_of_one_dataset_and_streams_lose_nothing(
    strategy, n, datasets, batch_size, ranks, bucket_steps, epoch_cells, seed, mixed
):
    cells = source(n, datasets, seed, mixed)
    if cells.count("train") < 8:
        return
    options = {"epoch_cells": epoch_cells, "bucket_steps": bucket_steps, "batch_size": batch_size, "seed": seed}
    made, again = (batches(cells, strategy, **options) for _ in range(2))
    steps, epochs, seen = made.steps(ranks), 3, {}
    size = -(-len(made.order) // steps)
    assert ranks <= size <= max(batch_size * ranks, 2 * ranks - 1)
    for epoch in range(epochs):
        for step in range(steps):
            found = step_cells(made, epoch, step, ranks)
            (code,) = set(cells.dataset[found])
            assert len(found) == size
            seen.setdefault(code, []).append(found)
    assert set(np.concatenate([part for own in seen.values() for part in own])) <= set(cells.places("train"))
    places = cells.places("train")
    for code, own in seen.items() if strategy == "shuffled" and bucket_steps == 1 else ():
        # What a step leaves of a pass over a dataset is the beginning of its next step: all cells are as far.
        times = np.bincount(np.concatenate(own), minlength=n)[places[cells.dataset[places] == code]]
        assert times.max() - times.min() <= 1
    for epoch, step in ((2, steps - 1), (0, 0), (1, steps // 2), (2, 0)):  # as after a restart, in any order
        again_found, found = step_cells(again, epoch, step, ranks), step_cells(made, epoch, step, ranks)
        assert again_found.tolist() == found.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_datasets_have_steps_in_proportion_to_the_weights_of_their_cells(strategy):
    cells = source(4000, datasets=11)
    made = batches(cells, strategy, batch_size=40)
    steps, epochs = made.steps(), 64
    places = cells.places("train")
    weight = np.ones(len(places))
    if strategy == "weighted":
        classes = list(zip(cells.dataset[places].tolist(), cells.column("type", places).tolist(), strict=True))
        count = Counter(classes)
        weight = np.array([count[c] ** -0.5 for c in classes])
        weight *= len(places) / weight.sum()
    expected = steps * np.bincount(cells.dataset[places], weights=weight) / len(places)
    assert expected.min() < 1  # a dataset that has no step in some epochs
    number_of = np.zeros((epochs, 11))
    total = np.zeros(len(cells))
    for epoch in range(epochs):
        for step in range(steps):
            found = step_cells(made, epoch, step)
            number_of[epoch, cells.dataset[found[0]]] += 1
            total += np.bincount(found, minlength=len(cells))
    assert (np.floor(expected) <= number_of).all() and (number_of <= np.ceil(expected)).all()
    # Over the epochs datasets get their turn evenly, not by chance: within three steps of what is expected.
    assert (np.abs(np.cumsum(number_of, axis=0) - np.arange(1, epochs + 1)[:, None] * expected) < 3).all()
    # Cells come as often as their weights say, up to a step and the rounding of a weight in each pass.
    size = -(-len(made.order) // steps)
    for code in range(11):
        own = cells.dataset[places] == code
        assert total[places][own].sum() == size * number_of[:, code].sum()
        # Its passes have a whole number of samples.
        a_pass = weight[own] * max(1, round(weight[own].sum())) / weight[own].sum()
        passes, rest = total[places][own].sum() / a_pass.sum(), a_pass % 1
        bound = 1 + np.ceil(a_pass) + 5 * np.sqrt(passes * rest * (1 - rest))
        assert (np.abs(total[places][own] - passes * a_pass) <= bound).all()


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_steps_do_not_depend_on_how_ranks_share_them(ranks):
    cells = source(1300)
    one, many = batches(cells, batch_size=48), batches(cells, batch_size=48 // ranks)
    assert one.steps() == many.steps(ranks)
    for epoch in range(2):
        for step in range(one.steps()):
            assert sorted(step_cells(one, epoch, step)) == sorted(step_cells(many, epoch, step, ranks))


def test_batches_of_datasets_are_in_random_order_and_cells_are_shuffled():
    cells = source(4000, datasets=3)
    made = batches(cells)
    codes = [[cells.dataset[step_cells(made, epoch, step)[0]] for step in range(made.steps())] for epoch in range(2)]
    assert codes[0] != codes[1] and np.count_nonzero(np.diff(codes[0])) > 40
    first = [step_cells(made, epoch, codes[epoch].index(0)) for epoch in range(2)]
    # Cells of a buffer of five blocks or more, and not one block after the other.
    assert len(set(first[0] // 10)) > 3 and set(first[0]) != set(first[1])


def test_buckets_sort_cells_of_one_dataset():
    cells = source(4000, datasets=3)
    spread = []
    for bucket_steps in (1, 8):
        made = batches(cells, bucket_steps=bucket_steps)
        found = [step_cells(made, epoch, step) for epoch in range(2) for step in range(made.steps())]
        assert all(len(set(cells.dataset[part])) == 1 for part in found)
        spread.append(np.mean([np.ptp(cells.nonzeros[part]) for part in found]))
    assert spread[1] < spread[0] / 3


def test_sequences_are_sampled_anew_in_each_pass_over_a_dataset():
    """A dataset that is smaller than a step has been passed over several times when others have not been once."""
    dataset = np.repeat([0, 1], [1990, 10])
    cells = MemorySource(np.ones(2000, bool), dataset)
    made = batches(cells, batch_size=100)
    steps = [(epoch, step) for epoch in range(20) for step in range(20)]
    small = [at for at in steps if dataset[step_cells(made, *at)[0]] == 1]
    assert len(small) == 2
    assert [made.order.turn(*at, 20) for at in small] == [0, 10]
    assert [len(set(step_cells(made, *at))) for at in small] == [10, 10]

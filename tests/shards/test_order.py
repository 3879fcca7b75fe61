from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_source import MemorySource, order
from wced.errors import WcedError
from wced.shards import blocks, epochs
from wced.shards.blocks import class_weights
from wced.shards.epochs import EpochOrder

STRATEGIES = ["sequential", "shuffled", "weighted", "round_robin"]


def source(n=5000, datasets=7, seed=0):
    rng = np.random.default_rng(seed)
    dataset = np.sort(rng.choice(datasets, n, p=np.arange(1, datasets + 1) / (datasets * (datasets + 1) / 2)))
    nonzeros = rng.integers(0, 5, n)
    return MemorySource(rng.random(n) < 0.7, dataset, nonzeros)


def epoch_order(cells, strategy="shuffled", seed=0, **section):
    return EpochOrder(cells, "train", order(strategy, **section), seed)


def visited(own, epoch=0, start=0, stop=None):
    """Rows of the cells that an epoch visits from start to stop."""
    begin = epoch * len(own)
    return own.cells(0, begin + start, begin + (len(own) if stop is None else stop))


def entropy(codes):
    """Shannon entropy of the classes of some cells, in bits."""
    share = np.bincount(codes) / len(codes)
    share = share[share > 0]
    return -(share * np.log2(share)).sum()


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    n=st.integers(1, 700), block_cells=st.integers(1, 40), buffer_blocks=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 700), max_size=5), seed=st.integers(0, 99),
)  # fmt: skip
def test_an_epoch_is_the_same_in_any_pieces(strategy, n, block_cells, buffer_blocks, cuts, seed):
    cells = source(n, seed=seed)
    section = {"block_cells": block_cells, "buffer_blocks": buffer_blocks}
    first, second = (epoch_order(cells, strategy, seed, **section) for _ in range(2))
    total = len(first)
    assert total == cells.count("train")
    whole = visited(first, 2)
    assert len(whole) == total and set(whole) <= set(cells.places("train"))
    if strategy in ("sequential", "shuffled"):
        assert sorted(whole) == cells.places("train").tolist()
    bounds = sorted({0, total, *(min(cut, total) for cut in cuts)})
    for a, b in list(pairwise(bounds))[::-1]:  # and in any order of calls
        assert visited(second, 2, a, b).tolist() == whole[a:b].tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_epochs_and_seeds_have_their_own_order(strategy):
    cells = source()
    orders = [
        tuple(visited(epoch_order(cells, strategy, seed), epoch, 0, 1000))
        for seed in (1, 2) for epoch in (0, 1, 2)
    ]  # fmt: skip
    assert len(set(orders)) == (1 if strategy == "sequential" else 6)


@pytest.mark.parametrize("batch", [32, 64, 256])
@pytest.mark.parametrize("datasets", [5, 100, 500])
def test_batches_are_as_mixed_as_after_a_full_shuffle(datasets, batch):
    n = 200_000
    sizes = np.random.default_rng(1).lognormal(0, 1, datasets)
    dataset = np.searchsorted(np.cumsum(sizes) / sizes.sum(), np.arange(n) / n, side="right")
    cells = MemorySource(np.ones(n, bool), dataset)
    own = epoch_order(cells, seed=3)
    assert len(cells.blocks("train", 64)[1]) // 512 >= 6  # several buffers
    full = np.random.default_rng(2).permutation(n)
    ours = [entropy(dataset[visited(own, 0, start, start + batch)]) for start in range(0, n - batch, 1997)]
    shuffled = [entropy(dataset[full[start : start + batch]]) for start in range(0, n - batch, 1997)]
    assert np.mean(ours) > 0.95 * np.mean(shuffled)


def test_cells_of_a_buffer_are_read_from_few_places():
    cells = MemorySource(np.ones(100_000, bool))
    places = visited(epoch_order(cells, block_cells=100, buffer_blocks=64), 0, 0, 6400)
    assert len(np.unique(places // 100)) <= 128  # one or two buffers of whole blocks


def test_weighted_samples_are_those_of_the_class_weights():
    dataset = np.repeat([0, 1, 2], [9000, 900, 100])
    cells = MemorySource(np.ones(10_000, bool), dataset)
    own = epoch_order(cells, "weighted", 1, power=0.5)
    root = np.sqrt([9000, 900, 100])
    for epoch in range(3):
        sampled = visited(own, epoch)
        assert len(sampled) == 10_000
        np.testing.assert_allclose(np.bincount(dataset[sampled]), 10_000 * root / root.sum(), atol=1)
    # Over the epochs every cell has its turn.
    sampled = Counter(np.concatenate([visited(own, epoch) for epoch in range(60)]).tolist())
    assert min(sampled[cell] for cell in range(9000)) > 60 * 0.5 * root[0] / root.sum() * 10_000 / 9000


def labelled(rng, n=3000):
    """Cells with three columns, each with unknown values (-1); some combinations are frequent and most are rare."""
    dataset = np.sort(rng.choice(4, n, p=[0.6, 0.3, 0.09, 0.01]))
    labels = {name: rng.geometric(p, n).clip(max=most) - 2 for name, p, most in (("type", 0.3, 9), ("disease", 0.7, 3))}
    return MemorySource(rng.random(n) < 0.8, dataset, rng.integers(0, 5, n), labels=labels)


def combinations(cells, columns, places):
    """The combination of some columns' values that each cell has."""
    names = [name.removesuffix("_id") for name in columns]
    return list(zip(*(cells.column(name, places).tolist() for name in names), strict=True))


def brute_weights(cells, columns, power, max_repeats):
    """Return the weight of each training cell from the counts of tuples, float64, by bisection over their scale."""
    places = cells.places("train")
    classes = combinations(cells, columns, places)
    count = Counter(classes)
    raw = np.array([count[c] ** -power for c in classes])
    low, high = 0.0, 1e12
    for _ in range(200):
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(raw * scale, max_repeats).sum() < len(raw) else (low, scale)
    return places, np.minimum(raw * low, max_repeats)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0], ids="power={}".format)
@pytest.mark.parametrize("max_repeats", [3.0, 1000.0], ids="max_repeats={}".format)
@pytest.mark.parametrize(
    "columns", [("type",), ("dataset_id", "type"), ("disease", "dataset_id", "type")], ids="-".join
)
def test_samples_of_combinations_are_those_of_brute_force(monkeypatch, columns, power, max_repeats):
    monkeypatch.setattr(blocks, "CHUNK_BLOCKS", 7)
    cells = labelled(np.random.default_rng(7))
    settings = {"columns": columns, "power": power, "max_repeats": max_repeats}
    own = epoch_order(cells, "weighted", 5, block_cells=16, buffer_blocks=9, **settings)
    places, expected = brute_weights(cells, columns, power, max_repeats)
    total, passes = np.zeros(len(cells)), 50
    starts = iter((np.arange(passes) + 0.5) / passes)
    monkeypatch.setattr(epochs, "sample_offset", lambda rng: next(starts))
    for epoch in range(passes):
        times = np.bincount(visited(own, epoch), minlength=len(cells))
        # Each cell comes as often as its weight, rounded down or up: nothing is lost or repeated at any bound.
        assert (np.floor(expected - 1e-9) <= times[places]).all() and (times[places] <= np.ceil(expected + 1e-9)).all()
        assert times.sum() == len(places)
        total += times
    # With the starts of the sampling spread evenly, the mean is the weight but for one sample of all passes.
    np.testing.assert_allclose(total[places] / passes, expected, atol=1 / passes + 1e-9)
    if power == 0:
        assert (total[places] == passes).all()


def test_columns_that_can_not_be_combined_are_refused():
    cells = labelled(np.random.default_rng(1))
    with pytest.raises(WcedError, match=r"^order\.columns: sex is no label of the shards, which have label$"):
        visited(epoch_order(cells, "weighted", columns=("sex",)))
    cells.labels.classes["type"] = range(2**31)
    cells.labels.classes["disease"] = range(2**31)
    with pytest.raises(WcedError, match=r"^order\.columns: type, dataset_id, disease have too many combinations"):
        visited(epoch_order(cells, "weighted", columns=("type", "dataset_id", "disease")))


def test_round_robin_takes_combinations_in_turn():
    cells = labelled(np.random.default_rng(3))
    columns = ("dataset_id", "disease")
    classes = combinations(cells, columns, visited(epoch_order(cells, "round_robin", 2, columns=columns)))
    number = len(set(classes))
    assert number > 8 and classes == (classes[:number] * len(classes))[: len(classes)]


def test_unknown_is_a_class_of_its_own():
    dataset = np.repeat([0, -1], [900, 100])
    cells = MemorySource(np.ones(1000, bool), np.abs(dataset))
    cells.dataset = dataset.astype(np.int32)
    assert abs((dataset[visited(epoch_order(cells, "weighted", 1, power=1.0))] == -1).sum() - 500) <= 1
    assert (dataset[visited(epoch_order(cells, "round_robin", 1))] == -1).sum() == 500


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=30).filter(any), st.floats(0, 1), st.floats(1, 100))
def test_class_weights_share_out_all_samples_within_the_limit(number_of, power, max_repeats):
    number_of = np.array(number_of)
    weights = class_weights(number_of, power, max_repeats)
    assert (weights * number_of).sum() == pytest.approx(number_of.sum())
    assert (weights <= max_repeats * (1 + 1e-12)).all() and (weights[number_of == 0] == 0).all()
    free = (number_of > 0) & (weights < max_repeats * (1 - 1e-9))
    raw = weights[free] * number_of[free] ** power
    np.testing.assert_allclose(raw, raw[:1].repeat(len(raw)), rtol=1e-9)


def test_round_robin_takes_a_cell_of_each_class_in_turn():
    dataset = np.repeat([0, 1, 2], [700, 250, 50])
    cells = MemorySource(np.ones(1000, bool), dataset)
    sampled = visited(epoch_order(cells, "round_robin", 4))
    assert len(sampled) == 1000 and dataset[sampled].tolist() == ([0, 1, 2] * 334)[:1000]
    for name, size in ((0, 700), (1, 250), (2, 50)):
        own = sampled[dataset[sampled] == name]
        for lap in range(len(own) // size):  # each lap over a class has all of its cells once
            assert len(set(own[lap * size : (lap + 1) * size])) == size
    small = sampled[dataset[sampled] == 2]
    assert small[:50].tolist() != small[50:100].tolist()

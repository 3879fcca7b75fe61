from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_source import MemorySource
from wced.errors import WcedError
from wced.shards import blocks, streams
from wced.shards.classes import class_weights
from wced.shards.epochs import EpochOrder
from wced.shards.order import Order

STRATEGIES = ["sequential", "shuffled", "weighted", "round_robin"]


def source(n=5000, datasets=7, seed=0):
    rng = np.random.default_rng(seed)
    dataset = np.sort(rng.choice(datasets, n, p=np.arange(1, datasets + 1) / (datasets * (datasets + 1) / 2)))
    nonzeros = rng.integers(0, 5, n)
    return MemorySource(rng.random(n) < 0.7, dataset, nonzeros)


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
    order = Order(strategy=strategy, block_cells=block_cells, buffer_blocks=buffer_blocks)
    first, second = (EpochOrder(cells, "train", order, seed) for _ in range(2))
    total = len(first)
    assert total == cells.count("train")
    whole = first.cells(2, 0, total)
    assert len(whole) == total and set(whole) <= set(cells.places("train"))
    if strategy in ("sequential", "shuffled"):
        assert sorted(whole) == cells.places("train").tolist()
    bounds = sorted({0, total, *(min(cut, total) for cut in cuts)})
    for a, b in list(pairwise(bounds))[::-1]:  # and in any order of calls
        assert second.cells(2, a, b).tolist() == whole[a:b].tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_epochs_and_seeds_have_their_own_order(strategy):
    cells = source()
    orders = [
        tuple(EpochOrder(cells, "train", Order(strategy=strategy), seed).cells(epoch, 0, 1000))
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
    order = EpochOrder(cells, "train", Order(), seed=3)
    assert len(cells.blocks("train", 64)[1]) // 512 >= 6  # several buffers
    full = np.random.default_rng(2).permutation(n)
    ours = [entropy(dataset[order.cells(0, start, start + batch)]) for start in range(0, n - batch, 1997)]
    shuffled = [entropy(dataset[full[start : start + batch]]) for start in range(0, n - batch, 1997)]
    assert np.mean(ours) > 0.95 * np.mean(shuffled)


def test_cells_of_a_buffer_are_read_from_few_places():
    cells = MemorySource(np.ones(100_000, bool))
    order = EpochOrder(cells, "train", Order(block_cells=100, buffer_blocks=64), seed=0)
    places = order.cells(0, 0, 6400)
    assert len(np.unique(places // 100)) <= 128  # one or two buffers of whole blocks


def test_weighted_draws_are_those_of_the_class_weights():
    dataset = np.repeat([0, 1, 2], [9000, 900, 100])
    cells = MemorySource(np.ones(10_000, bool), dataset)
    order = EpochOrder(cells, "train", Order(strategy="weighted", power=0.5), seed=1)
    root = np.sqrt([9000, 900, 100])
    for epoch in range(3):
        drawn = order.cells(epoch, 0, len(order))
        assert len(drawn) == 10_000
        np.testing.assert_allclose(np.bincount(dataset[drawn]), 10_000 * root / root.sum(), atol=1)
    # Over the epochs every cell has its turn.
    drawn = Counter(np.concatenate([order.cells(epoch, 0, 10_000) for epoch in range(60)]).tolist())
    assert min(drawn[cell] for cell in range(9000)) > 60 * 0.5 * root[0] / root.sum() * 10_000 / 9000


def labelled(rng, n=3000):
    """Cells with three columns, each with unknown values (-1); some combinations are frequent and most are rare."""
    dataset = np.sort(rng.choice(4, n, p=[0.6, 0.3, 0.09, 0.01]))
    labels = {name: rng.geometric(p, n).clip(max=most) - 2 for name, p, most in (("type", 0.3, 9), ("disease", 0.7, 3))}
    return MemorySource(rng.random(n) < 0.8, dataset, rng.integers(0, 5, n), labels=labels)


def brute_weights(cells, columns, power, max_repeats):
    """Return the weight of each training cell from the counts of tuples, float64, by bisection over their scale."""
    places = cells.places("train")
    classes = list(zip(*(cells.column(name, places).tolist() for name in columns), strict=True))
    count = Counter(classes)
    raw = np.array([count[c] ** -power for c in classes])
    low, high = 0.0, 1e12
    for _ in range(200):
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(raw * scale, max_repeats).sum() < len(raw) else (low, scale)
    return places, np.minimum(raw * low, max_repeats)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0], ids="power={}".format)
@pytest.mark.parametrize("max_repeats", [3.0, 1000.0], ids="max_repeats={}".format)
@pytest.mark.parametrize("columns", [("type",), ("dataset", "type"), ("disease", "dataset", "type")], ids="-".join)
def test_samples_of_combinations_are_those_of_brute_force(monkeypatch, columns, power, max_repeats):
    monkeypatch.setattr(blocks, "CHUNK_BLOCKS", 7)
    cells = labelled(np.random.default_rng(7))
    settings = {"columns": columns, "power": power, "max_repeats": max_repeats}
    order = EpochOrder(cells, "train", Order("weighted", block_cells=16, buffer_blocks=9, **settings), 5)
    places, expected = brute_weights(cells, columns, power, max_repeats)
    total, passes = np.zeros(len(cells)), 50
    starts = iter((np.arange(passes) + 0.5) / passes)
    monkeypatch.setattr(streams, "sample_offset", lambda rng: next(starts))
    for epoch in range(passes):
        times = np.bincount(order.cells(epoch, 0, len(order)), minlength=len(cells))
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
        EpochOrder(cells, "train", Order("weighted", columns=("sex",)), 0).cells(0, 0, 1)
    cells.labels.classes["type"] = range(2**31)
    cells.labels.classes["disease"] = range(2**31)
    with pytest.raises(WcedError, match=r"^order\.columns: type, dataset, disease have too many combinations"):
        EpochOrder(cells, "train", Order("weighted", columns=("type", "dataset", "disease")), 0).cells(0, 0, 1)


def test_round_robin_takes_combinations_in_turn():
    cells = labelled(np.random.default_rng(3))
    order = EpochOrder(cells, "train", Order("round_robin", columns=("dataset", "disease")), 2)
    seen = order.cells(0, 0, len(order))
    classes = list(zip(*(cells.column(name, seen).tolist() for name in ("dataset", "disease")), strict=True))
    number = len(set(classes))
    assert number > 8 and classes == (classes[:number] * len(classes))[: len(classes)]


def test_unknown_is_a_class_of_its_own():
    dataset = np.repeat([0, -1], [900, 100])
    cells = MemorySource(np.ones(1000, bool), np.abs(dataset))
    cells.dataset = dataset.astype(np.int32)
    weighted = EpochOrder(cells, "train", Order(strategy="weighted", power=1.0), seed=1)
    assert abs((dataset[weighted.cells(0, 0, 1000)] == -1).sum() - 500) <= 1
    turns = EpochOrder(cells, "train", Order(strategy="round_robin"), seed=1)
    assert (dataset[turns.cells(0, 0, 1000)] == -1).sum() == 500


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
    order = EpochOrder(cells, "train", Order(strategy="round_robin"), seed=4)
    drawn = order.cells(0, 0, len(order))
    assert len(drawn) == 1000 and dataset[drawn].tolist() == ([0, 1, 2] * 334)[:1000]
    for name, size in ((0, 700), (1, 250), (2, 50)):
        own = drawn[dataset[drawn] == name]
        for lap in range(len(own) // size):  # each lap over a class has all of its cells once
            assert len(set(own[lap * size : (lap + 1) * size])) == size
    small = drawn[dataset[drawn] == 2]
    assert small[:50].tolist() != small[50:100].tolist()

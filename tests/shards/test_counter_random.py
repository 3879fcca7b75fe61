import itertools
import math

import numba
import numpy as np
import pytest
from scipy.stats import chisquare

from wced.shards.counter_random import (
    UNIT,
    mixed,
    number_of_survivors,
    numbers,
    permuted,
    random_subset,
    stream,
    survivors,
)


@numba.njit
def splitmix(seed, n):
    state, words = np.uint64(seed), np.empty(n, np.uint64)
    for i in range(n):
        state += np.uint64(0x9E3779B97F4A7C15)
        words[i] = mixed(state)
    return words


def test_it_is_splitmix64():
    # The first outputs for seed 1234567, as in the published reference implementation's test vector.
    assert splitmix(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_streams_differ_by_seed_epoch_cell_and_purpose():
    keys = itertools.product(range(5), range(20), range(300), range(4))
    assert len({int(stream(*key)) for key in keys}) == 5 * 20 * 300 * 4


@numba.njit
def numbers_of(state, n):
    return numbers(np.uint64(state), n, np.empty((n + 3) // 4, np.uint64)).copy()


def test_numbers_are_the_parts_of_the_words():
    words = splitmix(1234567, 3).tolist()
    expected = [word >> bits & 0xFFFF for word in words for bits in (0, 16, 32, 48)]
    for n in range(13):
        assert numbers_of(1234567, n).tolist() == expected[:n]


@pytest.mark.parametrize("dropped", [0, 1, 13107, 32768, UNIT - 1, UNIT], ids="dropped={}".format)
def test_survivors_are_those_whose_number_is_not_below(dropped):
    for n in (0, 1, 5, 1000):
        counts, stays = np.arange(1, n + 1, dtype=np.uint32), np.zeros(n, bool)
        n_stays, total = survivors(np.uint64(99), counts, dropped, stays, np.empty(n // 4 + 1, np.uint64))
        np.testing.assert_array_equal(stays, numbers_of(99, n) >= dropped)
        assert n_stays == stays.sum() == number_of_survivors(np.uint64(99), n, dropped)
        assert total == counts[stays].sum()
    assert abs(n_stays - 1000 * (1 - dropped / UNIT)) <= 5 * np.sqrt(1000 * dropped / UNIT * (1 - dropped / UNIT))


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4], [1, 2, 5, 9, 10]], ids=["all", "some"])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_subset_is_equally_likely(size, places):
    found = {}
    n = places[-1] + 1
    before, words = np.zeros(n, bool), np.zeros(n // 4 + 1, np.uint64)
    for seed in range(6000):
        stays = np.zeros(n, bool)
        stays[places] = True
        random_subset(np.uint64(seed * 7919), n, 5, size, stays, before, words)
        subset = tuple(np.flatnonzero(stays))
        found[subset] = found.get(subset, 0) + 1
    assert len(found) == math.comb(5, size)
    assert all(len(subset) == size and set(subset) <= set(places) for subset in found)
    assert chisquare(list(found.values())).pvalue > 0.001


@pytest.mark.parametrize(("n", "size"), [(2000, 1990), (2000, 1000), (2000, 10)])
def test_a_subset_of_many_has_its_size_and_takes_all_equally_often(n, size):
    taken, rounds = np.zeros(n, np.int64), 400
    before, words = np.zeros(n, bool), np.zeros(n // 4 + 1, np.uint64)
    for seed in range(rounds):
        stays = np.ones(n, bool)
        random_subset(np.uint64(seed * 7919), n, n, size, stays, before, words)
        assert stays.sum() == size
        taken += stays
    share = size / n
    z = (taken - rounds * share) / np.sqrt(rounds * share * (1 - share))
    assert abs(z).max() < 7 and abs(np.mean(z**2) - 1) < 0.2


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 100, 1000])
def test_permuted_is_a_permutation_and_keys_differ(n):
    orders = {tuple(permuted(i, n, key) for i in range(n)) for key in range(20)}
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert len(orders) > min(n, 15) // 2


def test_permuted_puts_every_element_anywhere():
    counts = np.bincount([permuted(3, 10, key) for key in range(5000)], minlength=10)
    assert chisquare(counts).pvalue > 0.001

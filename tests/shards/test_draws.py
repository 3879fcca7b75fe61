import math

import numba
import numpy as np
import pytest
from scipy.stats import chisquare

from wced.shards.draws import UNIT, mixed, number_of_survivors, permuted, random_subset, stream, survivors


@numba.njit
def splitmix(seed, n):
    state, draws = np.uint64(seed), np.empty(n, np.uint64)
    for i in range(n):
        state += np.uint64(0x9E3779B97F4A7C15)
        draws[i] = mixed(state)
    return draws


def test_it_is_splitmix64():
    # The first outputs for seed 1234567, as in the published reference implementation's test vector.
    assert splitmix(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@numba.njit
def first_states(seeds, epochs, joinids, purposes):
    found = np.empty(len(seeds) * len(epochs) * len(joinids) * len(purposes), np.uint64)
    at = 0
    for seed in seeds:
        for epoch in epochs:
            for joinid in joinids:
                for purpose in purposes:
                    found[at] = stream(seed, epoch, joinid, purpose)
                    at += 1
    return found


def test_streams_differ_by_seed_epoch_cell_and_purpose():
    states = first_states(np.arange(5), np.arange(20), np.arange(300), np.arange(4))
    assert len(np.unique(states)) == len(states)


@pytest.mark.parametrize("dropped", [0, 1, 13107, 32768, UNIT - 1, UNIT], ids="dropped={}".format)
def test_survivors_are_counted_as_they_are_written(dropped):
    for n in (0, 1, 5, 1000):
        kept = np.full(n + 1, -1, np.int32)
        count = survivors(np.uint64(99), n, dropped, kept)
        assert count == number_of_survivors(np.uint64(99), n, dropped)
        assert (np.diff(kept[:count]) > 0).all() and set(kept[:count]) <= set(range(n))
    assert abs(count - 1000 * (1 - dropped / UNIT)) <= 5 * np.sqrt(1000 * dropped / UNIT * (1 - dropped / UNIT))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_subset_is_equally_likely(size):
    found = {}
    marked = np.zeros(5, bool)
    for seed in range(6000):
        kept = np.arange(5, dtype=np.int32)
        random_subset(np.uint64(seed * 7919), kept, 5, size, marked)
        assert not marked.any()
        found[tuple(kept[:size])] = found.get(tuple(kept[:size]), 0) + 1
    assert len(found) == math.comb(5, size) and all(sorted(subset) == list(subset) for subset in found)
    assert chisquare(list(found.values())).pvalue > 0.001


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 100, 1000])
def test_permuted_is_a_permutation_and_keys_differ(n):
    orders = {tuple(permuted(i, n, key) for i in range(n)) for key in range(20)}
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert len(orders) > min(n, 15) // 2


def test_permuted_puts_every_place_anywhere():
    counts = np.bincount([permuted(3, 10, key) for key in range(5000)], minlength=10)
    assert chisquare(counts).pvalue > 0.001

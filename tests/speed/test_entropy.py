from itertools import combinations

import numpy as np
import pytest

from speed.entropy import entropy, full_shuffle_entropy, mean_entropies


@pytest.mark.parametrize(
    ("classes", "bits"),
    [([1, 1, 1, 1], 0.0), ([0, 1, 0, 1], 1.0), ([0, 1, 2, 3], 2.0), ([0, 0, 0, 5], 0.25 * 2 + 0.75 * np.log2(4 / 3))],
    ids=["one", "two", "four", "unequal"],
)
def test_entropy_of_a_batch(classes, bits):
    assert entropy(np.array(classes)) == pytest.approx(bits)


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_full_shuffle_is_the_mean_over_every_possible_batch(size):
    dataset = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2])
    brute = np.mean([entropy(dataset[list(chosen)]) for chosen in combinations(range(len(dataset)), size)])
    assert full_shuffle_entropy(dataset, size) == pytest.approx(brute)


def test_means_are_over_batches_of_any_size():
    dataset = np.repeat(np.arange(20), np.arange(1, 21))
    shuffled = np.random.default_rng(0).permuted(np.tile(dataset, (2000, 1)), axis=1)
    found, expected = mean_entropies([*shuffled[:, :30], *shuffled[:, 30:40]], dataset)
    assert found == pytest.approx(expected, rel=0.01)
    found, expected = mean_entropies(np.split(dataset, [100, 200]), dataset)
    assert found < 0.8 * expected
    assert np.isnan(mean_entropies([], dataset)).all()

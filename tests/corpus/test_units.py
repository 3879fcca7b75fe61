"""Choosing units against every possible choice, and at the size of the Census."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.corpus.units import choose_units


def choose(counts_uc, target, margin, *, extra_u=None, train_c=None, seen_c=None, seed=0, **options):
    """Call with sensible defaults: nothing elsewhere, nothing seen, no cells of unknown type."""
    counts_uc = np.asarray(counts_uc)
    size_u = counts_uc.sum(axis=1) + (0 if extra_u is None else extra_u)
    train_c = counts_uc.sum(axis=0) if train_c is None else train_c
    seen_c = np.zeros(counts_uc.shape[1], bool) if seen_c is None else seen_c
    return choose_units(counts_uc, size_u, train_c, seen_c, target, margin, seed, **options)


def every_choice(n):
    return (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1 == 1


def best_by_trying(counts_uc, size_u, train_c, seen_c, target, margin):
    """Return the largest number of new types, and with it the smallest distance, over all choices; None if none."""
    chosen = every_choice(len(size_u))
    taken = chosen.astype(int) @ counts_uc
    keeps = ((taken < train_c) | (taken == 0)).all(axis=1)
    distance = np.abs(chosen @ size_u - target)
    near = keeps & (distance <= max(margin, 1))
    if not near.any():
        allowed = keeps & (distance <= target)
        if not allowed.any():
            return None
        near = keeps & (distance <= max(margin, 1) + distance[allowed].min())
    types = ((taken > 0) & ~seen_c).sum(axis=1)
    most = types[near].max()
    return most, distance[near & (types == most)].min()


@given(
    seed=st.integers(0, 10**6), units=st.integers(2, 9), types=st.integers(1, 12), sparsity=st.floats(0.1, 0.9),
    share=st.floats(0.05, 0.6), tolerance=st.sampled_from([0.001, 0.02, 0.1, 0.3]), elsewhere=st.booleans(),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_choice_is_better(seed, units, types, sparsity, share, tolerance, elsewhere):
    rng = np.random.default_rng(seed)
    counts_uc = rng.integers(1, 50, (units, types)) * (rng.random((units, types)) < sparsity)
    extra_u = rng.integers(1, 5, units)
    size_u = counts_uc.sum(axis=1) + extra_u
    train_c = counts_uc.sum(axis=0) + (rng.integers(0, 2, types) if elsewhere else 0)
    seen_c = rng.random(types) < 0.2
    target, margin = share * size_u.sum(), tolerance * size_u.sum()
    choice = choose(counts_uc, target, margin, extra_u=extra_u, train_c=train_c, seen_c=seen_c, seed=seed)
    best = best_by_trying(counts_uc, size_u, train_c, seen_c, target, margin)
    assert len(set(choice.units)) == len(choice.units) > 0
    taken_c = counts_uc[choice.units].sum(axis=0)
    if best is None:
        assert len(choice.units) == 1 and "least loss" in choice.method
        return
    assert choice.method == "optimal"
    assert ((taken_c < train_c) | (taken_c == 0)).all(), "train lost a type"
    types_found, distance = ((taken_c > 0) & ~seen_c).sum(), abs(size_u[choice.units].sum() - target)
    assert types_found == best[0] == choice.types_at_most
    # Nearness is worth half a type over the margin, and proven to a hundredth of a type.
    assert distance <= best[1] + 0.02 * (max(margin, 1) + target) + 1e-6


def atlas(seed, units=500, types=700):
    """Cells of skewed datasets and cell types, some types in one dataset only."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, types + 1) ** 1.1
    present_uc = rng.random((units, types)) < 30 * popularity / popularity.sum()
    present_uc[rng.integers(0, units, types), np.arange(types)] = True
    counts_uc = np.ceil(rng.gamma(0.3, 1, present_uc.shape) * 100) * present_uc
    return np.ceil(counts_uc * rng.lognormal(0, 1.5, (units, 1))).astype(np.int64)


@pytest.mark.parametrize(("units", "types"), [(500, 700), (60, 300)], ids=["atlas", "few large datasets"])
def test_an_atlas_is_split_optimally_in_seconds(units, types):
    counts_uc = atlas(0, units, types)
    cells = counts_uc.sum()
    began = time.process_time()
    choice = choose(counts_uc, 0.2 * cells, 0.01 * cells)
    assert time.process_time() - began < 20
    assert choice.method == "optimal"
    validation = np.isin(np.arange(units), choice.units)
    assert abs(counts_uc[validation].sum() / cells - 0.2) <= 0.01
    present_c = counts_uc.sum(axis=0) > 0
    assert (counts_uc[~validation].sum(axis=0) > 0)[present_c].all()
    assert (counts_uc[validation].sum(axis=0) > 0).sum() == choice.types_at_most


@pytest.mark.parametrize("seed", [1, 5])
def test_a_search_that_ends_early_says_how_far_it_may_be(seed):
    counts_uc = atlas(seed, 60, 300)
    cells = counts_uc.sum()
    choice = choose(counts_uc, 0.1 * cells, 0.00001 * cells, max_nodes=1)
    taken_c = counts_uc[choice.units].sum(axis=0)
    missing = choice.types_at_most - (taken_c > 0).sum()
    assert missing > 0 and f"within {missing} types of the optimum" in choice.method
    assert (taken_c < counts_uc.sum(axis=0))[taken_c > 0].all(), "train lost a type"


def test_seed_chooses_among_equals():
    counts_uc = np.full((10, 3), 5)
    chosen = {tuple(choose(counts_uc, 15, 1, seed=seed).units) for seed in range(12)}
    assert len(chosen) > 1 and all(len(units) == 1 for units in chosen)
    assert tuple(choose(counts_uc, 15, 1, seed=4).units) == tuple(choose(counts_uc, 15, 1, seed=4).units)


@pytest.mark.parametrize(
    ("counts_uc", "target", "expected"),
    [
        pytest.param([[3, 27, 0], [0, 30, 40]], 10, [0], id="each alone has a type: the fewest cells"),
        pytest.param([[5, 0], [0, 0], [0, 90]], 9, [0], id="a unit of unknown cells only"),
    ],
)
def test_where_the_promise_cannot_be_kept(counts_uc, target, expected):
    choice = choose(counts_uc, target, 1)
    assert choice.units.tolist() == expected and "least loss" in choice.method

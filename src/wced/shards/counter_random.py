"""Counter-based random numbers for compiled code: a function of (seed, epoch, soma_joinid, purpose) and a counter.

So the numbers of a cell depend neither on its batch nor on the number of workers, and those of one purpose do not
change when another is switched on. Numba caches compiled code by the age of each module alone: after a change here,
delete `src/wced/shards/__pycache__`.
"""

import numba
import numpy as np

DROPOUT, SUBSET, ZEROS, MASK, PANEL, THIN = range(6)
"""Purposes, each with a stream of its own."""

UNIT = 65536
"""Yes-or-no decisions compare 16 random bits: probabilities are rounded to multiples of 1 / UNIT."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Increment of the SplitMix64 state for each number: 2^64 divided by the golden ratio."""


@numba.njit(inline="always")
def mixed(z):
    """Return 64 well-mixed bits of 64 (the finaliser of SplitMix64, Steele et al. 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(inline="always")
def stream(seed, epoch, joinid, purpose):
    """Return the first state of a stream; each further state adds `GOLDEN`, and its number is `mixed` of the state."""
    state = mixed(np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(purpose))
    state = mixed(state ^ np.uint64(joinid))
    return mixed(state + np.uint64(epoch) * GOLDEN)


@numba.njit(inline="always")
def below(bits, n):
    """Return an integer in [0, n) from the upper 32 of 64 random bits; n at most 2^31."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@numba.njit(inline="always")
def numbers(state, n, words):
    """Return the next n random numbers of a stream, uint16: each 64-bit number gives four, the lowest bits first.

    They are a view of `words`, which has room for n / 4, rounded up.
    """
    for k in range((n + 3) // 4):
        words[k] = mixed(state + np.uint64(k + 1) * GOLDEN)
    return words.view(np.uint16)[:n]


@numba.njit(nogil=True, cache=True)
def survivors(state, counts, dropped, stays, words):
    """Write to `stays` which of a cell's genes survive dropout; return how many, and the sum of their counts.

    Each is dropped with probability `dropped` / UNIT. `words` is work space, as for `numbers`.
    """
    number, limit = numbers(state, len(counts), words), np.int32(dropped)
    for j in range(len(counts)):
        stays[j] = np.int32(number[j]) >= limit
    n_stays, total = 0, np.uint64(0)
    for j in range(len(counts)):
        n_stays += stays[j]
        total += np.uint64(counts[j]) * np.uint64(stays[j])
    return n_stays, total


@numba.njit(nogil=True, cache=True)
def number_of_survivors(state, n, dropped):
    """Return how many of n genes `survivors` would keep, without writing."""
    count, limit = 0, np.uint64(dropped)
    for k in range(n // 4):
        bits = mixed(state + np.uint64(k + 1) * GOLDEN)
        count += (bits & np.uint64(0xFFFF)) >= limit
        count += ((bits >> np.uint64(16)) & np.uint64(0xFFFF)) >= limit
        count += ((bits >> np.uint64(32)) & np.uint64(0xFFFF)) >= limit
        count += (bits >> np.uint64(48)) >= limit
    bits = mixed(state + np.uint64(n // 4 + 1) * GOLDEN)
    for _ in range(n % 4):
        count += (bits & np.uint64(0xFFFF)) >= limit
        bits >>= np.uint64(16)
    return count


@numba.njit(nogil=True, cache=True)
def random_subset(state, n, n_stays, size, stays, before, words):
    """Reduce the `n_stays` of n elements that are True in `stays` to a uniformly random subset of `size`.

    Each is left out by a number of its own, so that about `size` remain; then random elements are removed or put back
    one by one until exactly `size` do. Neither prefers any element, so all subsets are equally likely.
    `before` (as long as `stays`) and `words` (as for `numbers`) are work space.
    """
    number, limit, left = numbers(state, n, words), np.int32((n_stays - size) * UNIT // n_stays), 0
    for j in range(n):
        before[j] = stays[j]
        stays[j] &= np.int32(number[j]) >= limit
        left += stays[j]
    state += np.uint64((n + 3) // 4) * GOLDEN
    too_many = left > size
    while left != size:
        state += GOLDEN
        j = below(mixed(state), n)
        if before[j] and stays[j] == too_many:
            stays[j] = not too_many
            left += -1 if too_many else 1


@numba.njit(nogil=True, cache=True)
def permuted(i, n, key):
    """Return the image of i under a random permutation of [0, n) chosen by `key`; needs no memory.

    A Feistel network of four rounds over the smallest power of four that holds n, iterated until the result is below n.
    """
    half = 1
    while (np.int64(1) << (2 * half)) < n:
        half += 1
    low = (np.uint64(1) << np.uint64(half)) - np.uint64(1)
    value = np.uint64(i)
    while True:
        left, right = value >> np.uint64(half), value & low
        for turn in range(4):
            left, right = right, left ^ (mixed(right + (np.uint64(key) ^ mixed(np.uint64(turn + 1)))) & low)
        value = (left << np.uint64(half)) | right
        if value < np.uint64(n):
            return np.int64(value)

"""Random numbers of single cells, for compiled code: small, fast, and the same wherever a cell is read.

Each purpose of each cell has a stream of its own, seeded by (seed, epoch, soma_joinid, purpose), so what is drawn for
a cell depends neither on its batch nor on the number of workers, and changing one choice leaves the others' draws.

Numba keeps compiled code beside each module and looks only at that module's own time: after a change here, delete
`src/wced/shards/__pycache__`.
"""

import numba
import numpy as np

DROPOUT, SUBSET, ZEROS, MASK, PANEL, THIN = range(6)
"""Purposes of streams."""

UNIT = 65536
"""Draws of yes or no have 16 bits: probabilities are rounded to this many steps."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""What SplitMix64 adds to its state for each draw: 2^64 by the golden ratio."""


@numba.njit(inline="always")
def mixed(z):
    """Return 64 well-mixed bits of 64 (the finaliser of SplitMix64, Steele et al. 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(inline="always")
def stream(seed, epoch, joinid, purpose):
    """Return the first state of a stream."""
    state = mixed(np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(purpose))
    state = mixed(state ^ np.uint64(joinid))
    return mixed(state + np.uint64(epoch) * GOLDEN)


@numba.njit(inline="always")
def advanced(state):
    """Return the next state of a stream; its draw is `mixed` of that."""
    return state + GOLDEN


@numba.njit(inline="always")
def below(bits, n):
    """Return an integer in [0, n) from the upper 32 of 64 random bits; n at most 2^31."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@numba.njit(inline="always")
def numbers(state, n, draws):
    """Return n random numbers in [0, UNIT), uint16: the parts of the next draws of a stream, the lowest bits first.

    They lie in `draws`, which has room for n / 4, rounded up. Several are made at a time, as none waits for another.
    """
    for draw in range((n + 3) // 4):
        draws[draw] = mixed(state + np.uint64(draw + 1) * GOLDEN)
    return draws.view(np.uint16)[:n]


@numba.njit(nogil=True, cache=True)
def survivors(state, counts, dropped, stays, draws):
    """Write to `stays` which of a cell's genes survive; return how many, and the sum of their counts.

    Each is dropped with probability `dropped` / UNIT. `draws` is memory to work in, as for `numbers`.
    """
    number, limit = numbers(state, len(counts), draws), np.int32(dropped)
    for j in range(len(counts)):
        stays[j] = np.int32(number[j]) >= limit
    n_stays, total = 0, np.uint64(0)
    for j in range(len(counts)):
        n_stays += stays[j]
        total += np.uint64(counts[j]) * np.uint64(stays[j])
    return n_stays, total


@numba.njit(nogil=True, cache=True)
def number_of_survivors(state, n, dropped):
    """Return what `survivors` would, without writing."""
    count, limit = 0, np.uint64(dropped)
    for draw in range(n // 4):
        bits = mixed(state + np.uint64(draw + 1) * GOLDEN)
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
def random_subset(state, n, n_stays, size, stays, before, draws):
    """Reduce the `n_stays` of n places that are True in `stays` to a uniformly random subset of `size`.

    Each is left out by a number of its own, so that about `size` remain; then single places are drawn and taken out or
    put back until just as many do. Neither prefers any place, so every subset is as likely as another.
    `before`, as long as `stays`, and `draws`, as for `numbers`, are memory to work in.
    """
    number, limit, left = numbers(state, n, draws), np.int32((n_stays - size) * UNIT // n_stays), 0
    for j in range(n):
        before[j] = stays[j]
        stays[j] &= np.int32(number[j]) >= limit
        left += stays[j]
    state += np.uint64((n + 3) // 4) * GOLDEN
    too_many = left > size
    while left != size:
        state = advanced(state)
        place = below(mixed(state), n)
        if before[place] and stays[place] == too_many:
            stays[place] = not too_many
            left += -1 if too_many else 1


@numba.njit(nogil=True, cache=True)
def permuted(place, n, key):
    """Return where a random permutation of [0, n), chosen by `key`, puts `place`; no memory, any order of calls.

    A Feistel network of four rounds over the smallest power of four that holds n, walked until it falls below n.
    """
    half = 1
    while (np.int64(1) << (2 * half)) < n:
        half += 1
    low = (np.uint64(1) << np.uint64(half)) - np.uint64(1)
    value = np.uint64(place)
    while True:
        left, right = value >> np.uint64(half), value & low
        for turn in range(4):
            left, right = right, left ^ (mixed(right + (np.uint64(key) ^ mixed(np.uint64(turn + 1)))) & low)
        value = (left << np.uint64(half)) | right
        if value < np.uint64(n):
            return np.int64(value)

"""Random numbers of single cells, for compiled code: small, fast, and the same wherever a cell is read.

Each purpose of each cell has a stream of its own, seeded by (seed, epoch, soma_joinid, purpose), so what is drawn for
a cell depends neither on its batch nor on the number of workers, and changing one choice leaves the others' draws.

Numba keeps compiled code beside each module and looks only at that module's own time: after a change here, delete
`src/wced/shards/__pycache__`.
"""

import numba
import numpy as np

DROPOUT, SUBSET, ZEROS, MASK = range(4)
"""Purposes of streams."""

UNIT = 65536
"""Draws of yes or no have 16 bits: probabilities are rounded to this many steps."""


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
    return mixed(state + np.uint64(epoch) * np.uint64(0x9E3779B97F4A7C15))


@numba.njit(inline="always")
def advanced(state):
    """Return the next state of a stream; its draw is `mixed` of that."""
    return state + np.uint64(0x9E3779B97F4A7C15)


@numba.njit(inline="always")
def below(bits, n):
    """Return an integer in [0, n) from the upper 32 of 64 random bits; n at most 2^31."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@numba.njit(nogil=True, cache=True)
def survivors(state, n, dropped, kept):
    """Write the places in [0, n) that survive to `kept`, ascending; return how many.

    Each is dropped with probability `dropped` / UNIT; four share a draw.
    """
    count, limit, bits = 0, np.uint64(dropped), np.uint64(0)
    for k in range(n):
        if k & 3 == 0:
            state = advanced(state)
            bits = mixed(state)
        kept[count] = k
        count += (bits & np.uint64(0xFFFF)) >= limit
        bits >>= np.uint64(16)
    return count


@numba.njit(nogil=True, cache=True)
def number_of_survivors(state, n, dropped):
    """Return what `survivors` would, without writing, and three times as fast: no draw waits for the one before."""
    count, limit = 0, np.uint64(dropped)
    for draw in range(n // 4):
        bits = mixed(state + np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15))
        count += (bits & np.uint64(0xFFFF)) >= limit
        count += ((bits >> np.uint64(16)) & np.uint64(0xFFFF)) >= limit
        count += ((bits >> np.uint64(32)) & np.uint64(0xFFFF)) >= limit
        count += (bits >> np.uint64(48)) >= limit
    bits = mixed(state + np.uint64(n // 4 + 1) * np.uint64(0x9E3779B97F4A7C15))
    for _ in range(n % 4):
        count += (bits & np.uint64(0xFFFF)) >= limit
        bits >>= np.uint64(16)
    return count


@numba.njit(inline="always")
def survivors_sum(state, counts, dropped):
    """Return the sum of the counts at the places that `survivors` would write."""
    total, limit, n = np.uint64(0), np.uint64(dropped), len(counts)
    for draw in range(n // 4):
        bits = mixed(state + np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15))
        for lane in range(4):
            survives = np.uint64(((bits >> np.uint64(16 * lane)) & np.uint64(0xFFFF)) >= limit)
            total += survives * np.uint64(counts[4 * draw + lane])
    bits = mixed(state + np.uint64(n // 4 + 1) * np.uint64(0x9E3779B97F4A7C15))
    for j in range(n - n % 4, n):
        if (bits & np.uint64(0xFFFF)) >= limit:
            total += np.uint64(counts[j])
        bits >>= np.uint64(16)
    return total


@numba.njit(nogil=True, cache=True)
def random_subset(state, kept, n, size, marked):
    """Reduce the first n values of `kept` to a uniformly random subset, in their order.

    The smaller part, those to leave out or those to keep, is drawn one by one, again where a draw was there already.
    `marked` is all False, before and after, and has room for n.
    """
    leave_out = 2 * size >= n
    wanted = n - size if leave_out else size
    done = 0
    while done < wanted:
        state = advanced(state)
        bits = mixed(state)
        for half in (bits, bits << np.uint64(32)):
            place = below(half, n)
            if done < wanted and not marked[place]:
                marked[place] = True
                done += 1
    taken = 0
    for k in range(n):
        value = kept[k]
        kept[taken] = value
        taken += marked[k] != leave_out
    marked[:n] = False


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

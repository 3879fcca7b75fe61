"""Random numbers that belong to a cell: the same whatever else is read, in whatever order, by however many jobs."""

import numpy as np

SPLIT = 1 << 32
"""Purpose of the numbers of the split; those of the steps of sampling are 1, 2, …"""

_GAMMA = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_CHUNK = 1 << 20


def draws(joinids: np.ndarray, seed: int, purpose: int, run: int = 1) -> np.ndarray:
    """Return a random number for each cell; uint64, (n,), uniform.

    The number of a cell is output ⌊soma_joinid / run⌋ of the generator SplitMix64 (Steele, Lea and Flood 2014), which
    starts from seed and purpose. Different cells (or runs of consecutive ones) have different numbers, and the numbers
    for different purposes are independent.
    """
    start = np.uint64(_mixed_integer(_mixed_integer(seed & _MASK) + purpose * _GAMMA))
    out = np.empty(len(joinids), np.uint64)
    for at in range(0, len(joinids), _CHUNK):
        z = (joinids[at : at + _CHUNK] // run + 1).astype(np.uint64) * np.uint64(_GAMMA) + start
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[at : at + _CHUNK] = z ^ (z >> np.uint64(31))
    return out


def _mixed_integer(value: int) -> int:
    """Return the output of SplitMix64 for one state."""
    value = (value + _GAMMA) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)

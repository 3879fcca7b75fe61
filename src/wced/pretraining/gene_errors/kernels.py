"""Compiled sums over dense predictions of cells × genes, for the CPU; `gene_errors` has their definitions.

Counting a batch at once would bring all histograms from memory for a few counts each. So predictions wait as two bytes
each, the logit's code and whether the gene is expressed, and many cells are counted together, gene after gene.

Every kernel does the genes from `start` to `stop` and releases the lock of the interpreter. Cells are visited in the
order of their blocks (`order_n`), so that a block's sums stay in the cache.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numba
import numpy as np
import torch

BINS = 512
"""Bins of a histogram."""

STEPS = 512
"""Codes per unit of a logit."""

HIGHEST = 32 * STEPS - 1
"""Largest code; the smallest is its negative."""

WIDEST = 6
"""Largest shift s: 2^6 · 512 steps hold all codes."""

UNMEASURED = -(2**15)
"""What waits for a gene that was not measured; otherwise 2 · code, plus 1 where the gene is expressed."""

_TILE = 32


def over_genes(work: Callable[[int, int], None], genes: int) -> None:
    """Call work(start, stop) for parts of the genes, in as many threads as torch uses."""
    threads = torch.get_num_threads()
    cuts = [genes * part // threads for part in range(threads + 1)]
    if threads == 1:
        work(0, genes)
    else:
        list(_pool(threads).map(work, cuts[:-1], cuts[1:]))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="genes")


@numba.njit(nogil=True, cache=True)
def add_cells(logit_ng, expected_ng, measured_ng, block_n, order_n, waiting_cg, first, expected_bg, start, stop):
    """Write what waits of n cells to the rows of `waiting_cg` from `first` on; add `expected_ng` to their blocks."""
    least, most, unmeasured = np.float32(-HIGHEST), np.float32(HIGHEST), np.int16(UNMEASURED)
    for i in order_n:
        logit, expected, measured = logit_ng[i, start:stop], expected_ng[i, start:stop], measured_ng[i, start:stop]
        waiting, total = waiting_cg[first + i, start:stop], expected_bg[block_n[i], start:stop]
        for j in range(len(logit)):
            steps = logit[j] * np.float32(STEPS)
            steps = steps if steps > least else least  # also where it is not a number
            steps = steps if steps < most else most
            code = np.int32(steps)
            code -= code > steps  # rounded down, for which compilers have no quick way
            waiting[j] = np.int16(2 * code) if measured[j] else unmeasured
            total[j] += expected[j] if measured[j] else np.float32(0)


@numba.njit(nogil=True, cache=True)
def add_targets(
    logit_ng, value_ng, offsets, gene_t, target_t, block_n, order_n, waiting_cg, first, errors_bgs, start, stop
):  # fmt: skip
    """Mark the expressed genes, of cell i `gene_t[offsets[i]:offsets[i + 1]]`; add their errors to the blocks."""
    for i in order_n:
        for t in range(offsets[i], offsets[i + 1]):
            g = np.int64(gene_t[t])
            if start <= g < stop:
                waiting_cg[first + i, g] |= 1
                value, target = value_ng[i, g], target_t[t]
                errors_bgs[block_n[i], g, 0] += abs((value if logit_ng[i, g] > 0 else np.float32(0)) - target)
                errors_bgs[block_n[i], g, 1] += abs(value - target)


@numba.njit(nogil=True, cache=True)
def _shift(low, high):
    shift = 0
    while shift < WIDEST and (high >> shift) - (low >> shift) >= BINS:
        shift += 1
    return shift


@numba.njit(nogil=True, cache=True)
def _merge(count_yb, low, old, new):
    """Merge bins of 2^old steps, the lowest being that of the code `low`, to bins of 2^new steps."""
    before = count_yb.copy()
    count_yb[:] = 0
    for b in range(BINS):
        k = (low >> old) + b
        for y in range(2):
            count_yb[y, (k >> (new - old)) & (BINS - 1)] += before[y, k & (BINS - 1)]


@numba.njit(nogil=True, cache=True)
def count_waiting(waiting_cg, cells, low_g, high_g, count_gyb, start, stop):
    """Count what waits of the first cells in the histograms, merging bins where the range asks for it."""
    index_cj, shift_j = np.empty((cells, _TILE), np.uint16), np.empty(_TILE, np.int32)
    low_j, high_j, expressed_j = np.empty((3, _TILE), np.int16)
    seen = np.zeros(4 * BINS, np.uint16)  # zeros, non-zeros, and what was not measured; a batch of counts in cache
    for tile in range(start, stop, _TILE):
        width = min(_TILE, stop - tile)
        low_j[:], high_j[:], expressed_j[:] = 2**15 - 1, UNMEASURED, 0
        for i in range(cells):
            waiting = waiting_cg[i, tile : tile + width]
            for j in range(width):
                low_j[j] = min(low_j[j], waiting[j] if waiting[j] != UNMEASURED else np.int16(2**15 - 1))
                high_j[j] = max(high_j[j], waiting[j])
                expressed_j[j] |= waiting[j] & 1
        for j in range(width):
            g = tile + j
            if high_j[j] != UNMEASURED:
                low, high = min(low_g[g], np.int32(low_j[j]) >> 1), max(high_g[g], np.int32(high_j[j]) >> 1)
                old, new = _shift(low_g[g], high_g[g]), _shift(low, high)
                if new > old:
                    _merge(count_gyb[g], low_g[g], old, new)
                low_g[g], high_g[g] = low, high
            shift_j[j] = _shift(low_g[g], high_g[g])
        for i in range(cells):
            waiting, index = waiting_cg[i, tile : tile + width], index_cj[i]
            for j in range(width):
                bin_of = (np.int32(waiting[j]) >> (shift_j[j] + 1)) & (BINS - 1)
                kind = 2 if waiting[j] == UNMEASURED else waiting[j] & 1
                index[j] = kind * BINS + bin_of
        for j in range(width):
            for i in range(cells):
                seen[index_cj[i, j]] += 1
            for y in range(1 + expressed_j[j]):  # memory of genes that nothing expresses is not touched
                counts = count_gyb[tile + j, y]
                for b in range(BINS):
                    counts[b] += seen[y * BINS + b]
            seen[:] = 0

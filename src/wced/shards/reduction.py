"""Compiled code that removes genes and counts from cells before they become an input; targets stay the whole cell.

Some genes are always left out; training cuts some cells to a panel and thins some: each molecule stays with one
probability, as if the cell had been sequenced less deeply.
"""

import numba
import numpy as np

from wced.shards.counter_random import GOLDEN, PANEL, THIN, UNIT, mixed, numbers, stream
from wced.shards.mapped import pointer

FEW = 4
"""Most counts are at most this."""

TABLE = 16
"""Up to this count thinning uses a table of the binomial distribution, with probabilities rounded to 1 / UNIT."""

EXACT = 64
"""Up to this count it uses a random number for each molecule; above it, the rounded normal approximation."""

NO_PANEL = -1


@numba.njit(inline="always")
def panel_of(state, panelled, choice):
    """Return the panel of a cell: an index into the known panels followed by the sizes; −1 for all genes.

    `panelled` / UNIT of the cells have one. `state` is the first of the cell's stream PANEL.
    """
    bits = mixed(state)
    if np.int64(bits & np.uint64(UNIT - 1)) >= panelled:
        return NO_PANEL
    number = (bits >> np.uint64(16)) * 2.0**-48
    panels = len(choice.panel_limits)
    return min(np.searchsorted(choice.panel_limits, number * choice.panel_limits[panels - 1], side="right"), panels - 1)


@numba.njit(inline="always")
def in_panel(gene, panel, key, choice):
    """Return whether a panel holds a gene; random panels depend on the cell's `key`."""
    known = len(choice.panel_pv)
    if panel < known:
        return choice.panel_pv[panel, gene]
    number = mixed(key + (np.uint64(gene) + np.uint64(1)) * GOLDEN) >> np.uint64(32)
    return np.int64(number) < choice.size_limits[panel - known]


@numba.njit(nogil=True, cache=True)
def allow(measured_g, panel, key, choice, allowed):
    """Write which genes a dataset measured that are neither left out nor outside the panel."""
    allowed_v, panel_pv = choice.allowed_v, choice.panel_pv
    # Loops without branches, which become vector instructions; numba copies slices of bytes slowly.
    for gene in range(len(measured_g)):
        allowed[gene] = measured_g[gene] & allowed_v[gene]
    if panel >= len(panel_pv):
        for gene in range(len(measured_g)):
            allowed[gene] &= in_panel(gene, panel, key, choice)
    elif panel != NO_PANEL:
        for gene in range(len(measured_g)):
            allowed[gene] &= panel_pv[panel, gene]


@numba.njit(nogil=True, cache=True)
def binomial_table(rate, table_ck):
    """Write UNIT · P(at most k of c molecules stay), rounded, for c up to `TABLE`; UNIT for k from c on; int32."""
    table_ck[:] = UNIT
    for c in range(1, len(table_ck)):
        share, below = (1 - rate) ** c, 0.0
        for k in range(c):
            below += share
            table_ck[c, k] = np.int32(np.round(min(below, 1.0) * UNIT))
            share *= (c - k) / (k + 1) * rate / max(1 - rate, 1e-300)


@numba.njit(nogil=True, cache=True)
def thinned_count(count, number, rate, table_ck, key):
    """Return how many of `count` molecules stay, each with probability `rate`.

    `number` in [0, UNIT) decides on counts in `binomial_table`; larger ones use random numbers from `key`.
    """
    kept = np.uint32(0)
    if count <= TABLE:
        while kept < count and np.int32(number) >= table_ck[count, kept]:
            kept += np.uint32(1)
    elif count <= EXACT:
        limit = np.uint64(np.round(rate * UNIT))
        for k in range(count):
            if k % 4 == 0:
                key += GOLDEN
                bits = mixed(key)
            kept += np.uint32((bits & np.uint64(UNIT - 1)) < limit)
            bits >>= np.uint64(16)
    else:
        # A normal deviate by Box and Muller, of two uniform ones.
        one = (np.float64(mixed(key + GOLDEN) >> np.uint64(11)) + 0.5) * 2.0**-53
        two = np.float64(mixed(key + GOLDEN + GOLDEN) >> np.uint64(11)) * 2.0**-53
        deviate = np.sqrt(-2 * np.log(one)) * np.cos(2 * np.pi * two)
        near = np.round(count * rate + deviate * np.sqrt(count * rate * (1 - rate)))
        kept = np.uint32(min(max(near, 0.0), np.float64(count)))
    return kept


@numba.njit(nogil=True, cache=True)
def reduce_cells(
    offsets, gene_at, count_at, like, soma_joinid, dataset, measured_dv, choice,
    thinned, log_min_rate, panelled, seed, epoch, zeros,
    kept_offsets, gene, count, whole, panel_n, available,
):  # fmt: skip
    """Write what is left of each cell.

    The cells are as in `CellViews`, `choice` is a `GeneChoice`. `thinned` and `panelled` are shares, times UNIT;
    neither empties a cell: a panel without any of its genes, and thinning that removes its last molecule, are skipped.
    A rate of thinning is exp(u · log_min_rate) with u uniform in [0, 1).

    Written are `kept_offsets`, int64, (n + 1,); `gene`, `count` and `whole` (counts before thinning), with room for all
    genes; and int64, (n,): `panel_n`, the panel of each cell, −1 for none, and, if `zeros` says that it is used,
    `available`, the number of genes without counts that may be zeros of the input.
    """
    largest = 0
    for i in range(len(offsets) - 1):
        largest = max(largest, offsets[i + 1] - offsets[i])
    words, table_ck = np.empty(largest // 4 + 1, np.uint64), np.empty((TABLE + 1, TABLE), np.int32)
    allowed = np.empty(measured_dv.shape[1] if zeros else 0, np.bool_)
    at = 0
    kept_offsets[0] = 0
    for i in range(len(offsets) - 1):
        n = offsets[i + 1] - offsets[i]
        genes = numba.carray(pointer(gene_at[i]), n, like.dtype)
        counts = numba.carray(pointer(count_at[i]), n, np.uint32)
        panel, key = NO_PANEL, stream(seed, epoch, soma_joinid[i], PANEL)
        if panelled > 0:
            panel = panel_of(key, panelled, choice)
        begin = at
        at = _filtered(genes, counts, panel, key, choice, gene, count, at)
        if at == begin and panel != NO_PANEL:
            panel = NO_PANEL
            at = _filtered(genes, counts, panel, key, choice, gene, count, at)
        panel_n[i] = panel
        for k in range(begin, at):
            whole[k] = count[k]
        if zeros:
            allow(measured_dv[dataset[i]], panel, key, choice, allowed)
            available[i] = np.count_nonzero(allowed) - (at - begin)
        if thinned > 0:
            state = stream(seed, epoch, soma_joinid[i], THIN)
            bits = mixed(state)
            if np.int64(bits & np.uint64(UNIT - 1)) < thinned:
                rate = np.exp(log_min_rate * np.float64(bits >> np.uint64(16)) * 2.0**-48)
                at = _thinned(state, rate, gene, count, whole, begin, at, words, table_ck)
        kept_offsets[i + 1] = at


@numba.njit(nogil=True, cache=True)
def _filtered(genes, counts, panel, key, choice, gene, count, at):
    """Write the genes that are neither left out nor outside the panel, from index `at` on; return where they end."""
    for j in range(len(genes)):
        # The next gene overwrites one that does not stay.
        gene[at], count[at] = genes[j], counts[j]
        stays = choice.allowed_v[genes[j]]
        if panel != NO_PANEL and stays:
            stays = in_panel(genes[j], panel, key, choice)
        at += stays
    return at


@numba.njit(nogil=True, cache=True)
def _thinned(state, rate, gene, count, whole, begin, end, words, table_ck):
    """Thin the counts from `begin` to `end` in place; return where the remaining ones end."""
    if begin == end:
        return end
    binomial_table(rate, table_ck)
    number, at, first_gene, first_count = numbers(state, end - begin, words), begin, gene[begin], whole[begin]
    for k in range(begin, end):
        own, row, kept = np.int32(number[k - begin]), min(count[k], np.uint32(FEW)), np.uint32(0)
        for step in range(FEW):  # always as long, which is faster: no number reaches the limits at the end of a row
            kept += np.uint32(own >= table_ck[row, step])
        if count[k] > FEW:
            kept = thinned_count(np.int64(count[k]), own, rate, table_ck, mixed(state ^ np.uint64(gene[k])))
        # The next gene overwrites one that does not stay.
        gene[at], count[at], whole[at] = gene[k], kept, whole[k]
        at += kept > 0
    if at > begin:
        return at
    gene[begin], whole[begin] = first_gene, first_count
    for k in range(begin, end):
        count[k] = whole[k]
    return end

"""Compiled code that measures and fills the sequences of a batch; `wced.shards.encode` says what they mean."""

import numba
import numpy as np

from wced.shards.draws import (
    DROPOUT,
    MASK,
    SUBSET,
    ZEROS,
    advanced,
    below,
    mixed,
    number_of_survivors,
    random_subset,
    stream,
    survivors,
    survivors_sum,
)
from wced.shards.mapped import pointer

TARGET_SUM = 10_000.0
"""Values are log1p(count / total · TARGET_SUM), the field's `log1p_10k`."""

SMALL = 32
"""Most counts of a cell are below this: what becomes of them is looked up in a table made once per cell."""


@numba.njit(inline="always")
def expressed_room(length, interleave, nonzero_ratio):
    """Return how many expressed genes fit into a sequence."""
    return max(1, np.int64(np.floor(length * nonzero_ratio))) if interleave else length


@numba.njit(inline="always")
def _zeros_wanted(used, length, zeros, interleave, nonzero_ratio):
    """Return how many zeros a sequence of `used` expressed genes asks for."""
    if zeros == 1:
        return length - used
    if interleave:
        return min(np.int64(np.round(used * (1.0 - nonzero_ratio) / nonzero_ratio)), length - used)
    return 0


@numba.njit(nogil=True, cache=True)
def sequence_lengths(
    offsets, soma_joinid, dataset, measured_d,
    length, zeros, nonzero_ratio, nonzero_only, dropped, training, seed, epoch,
    lengths, zeros_n,
):  # fmt: skip
    """Write how many positions each sequence has, and how many of them are zeros."""
    for i in range(len(offsets) - 1):
        n = offsets[i + 1] - offsets[i]
        kept = n
        if training and dropped > 0:
            # Dropout that takes everything leaves one gene, so that no cell is empty.
            survived = number_of_survivors(stream(seed, epoch, soma_joinid[i], DROPOUT), n, dropped)
            kept = max(min(n, 1), survived)
        interleave = zeros == 2 and training
        if interleave and nonzero_only > 0:
            interleave = (mixed(stream(seed, epoch, soma_joinid[i], ZEROS)) & np.uint64(0xFFFF)) >= nonzero_only
        used = min(kept, expressed_room(length, zeros == 2 and training, nonzero_ratio))
        wanted = _zeros_wanted(used, length, zeros, interleave, nonzero_ratio)
        if wanted > 0:
            wanted = max(min(wanted, measured_d[dataset[i]] - n), 0)
        zeros_n[i] = wanted
        lengths[i] = used + wanted


@numba.njit(inline="always")
def _log1p_table(total, table):
    """Fill the table with log1p_10k of every small count of a cell."""
    scale = TARGET_SUM / total
    for count in range(1, SMALL):
        table[count] = np.log(1.0 + count * scale)  # in float64 as good as log1p for a float32, and twice as fast


@numba.njit(nogil=True, cache=True)
def _small_and_large(counts, kept, n, large):
    """Return how often each small count occurs, and how many large ones there are, which are written to `large`."""
    number_of, n_large = np.zeros(SMALL, np.int64), 0
    for k in range(n):
        count = counts[kept[k]]
        if count < SMALL:
            number_of[count] += 1
        else:
            large[n_large] = count
            n_large += 1
    return number_of, n_large


@numba.njit(nogil=True, cache=True)
def _rank_table(counts, kept, n, bins, table, large):
    """Fill the table with the rank (or bin, where `bins` > 0) of every small count; return the number of large ones.

    The large ones stand sorted in `large`.
    """
    number_of, n_large = _small_and_large(counts, kept, n, large)
    large[:n_large].sort()
    lower = 0
    for count in range(SMALL):
        table[count] = _rank_value(lower, lower + number_of[count], n, bins)
        lower += number_of[count]
    return n_large


@numba.njit(inline="always")
def _rank_value(lower, upper, n, bins):
    """Return the value of counts that stand at the places lower to upper (exclusive) of n sorted ones."""
    place = 0.5 * (lower + upper) / n
    return 1.0 + np.floor(bins * place) if bins > 0 else place


@numba.njit(nogil=True, cache=True)
def _most_expressed(counts, kept, n, size, large):
    """Reduce the first n of `kept` to the places with the largest counts, in their order; ties go to the first."""
    number_of, n_large = _small_and_large(counts, kept, n, large)
    above, threshold = 0, np.int64(0)  # counts above the threshold are all taken, those at it as far as they fit
    if n_large >= size:
        large[:n_large].sort()
        threshold = np.int64(large[n_large - size])
        above = n_large - np.searchsorted(large[:n_large], large[n_large - size], side="right")
    else:
        above, threshold = n_large, SMALL - 1
        while above + number_of[threshold] < size:
            above += number_of[threshold]
            threshold -= 1
    taken, at_threshold = 0, size - above
    for k in range(n):
        place = kept[k]
        count = np.int64(counts[place])
        fits = count == threshold and at_threshold > 0
        kept[taken] = place
        taken += count > threshold or fits
        at_threshold -= fits


@numba.njit(nogil=True, cache=True)
def _add_zeros(state, cell_gene, measured_g, measured, training, wanted, gene, taken):
    """Write `wanted` genes that the dataset measured and the cell does not express to `gene`; `taken` is all False."""
    n_genes, n = len(measured_g), len(cell_gene)
    for j in range(n):
        taken[cell_gene[j]] = True
    if training and 4 * (measured - n - wanted) > n_genes:
        done = 0  # more than a quarter of all genes would still do after the last draw: draw until all are new
        while done < wanted:
            state = advanced(state)
            g = below(mixed(state), n_genes)
            if not taken[g] and measured_g[g]:
                taken[g] = True
                gene[done] = g
                done += 1
        for k in range(wanted):
            taken[gene[k]] = False
    else:
        there = 0
        for g in range(n_genes):
            there += measured_g[g] and not taken[g]
        done, seen = 0, 0
        for g in range(n_genes):
            if not measured_g[g] or taken[g]:
                continue
            if training:  # Knuth's algorithm S
                state = advanced(state)
                chosen = below(mixed(state), there - seen) < wanted - done
            else:
                chosen = (seen + 1) * wanted // there > seen * wanted // there
            seen += 1
            if chosen:
                gene[done] = g
                done += 1
    for j in range(n):
        taken[cell_gene[j]] = False


@numba.njit(nogil=True, cache=True)
def fill(
    offsets, gene_at, count_at, like, soma_joinid, dataset, measured_dv, measured_d,
    room, random, values, bins, dropped, hidden, training, seed, epoch, lengths, zeros_n,
    gene, value, masked, position_target, target_gene, target_value,
):  # fmt: skip
    """Fill the arrays of a batch; those that are not asked for have no rows."""
    largest = 0
    for i in range(len(offsets) - 1):
        largest = max(largest, offsets[i + 1] - offsets[i])
    kept = np.empty(largest + 1, np.int32)  # places in the cell of the genes that survive dropout, then of the used
    large, marked = np.empty(largest, np.uint32), np.zeros(largest, np.bool_)
    taken = np.zeros(measured_dv.shape[1] if zeros_n.any() else 0, np.bool_)
    whole_table, table = np.zeros(SMALL, np.float32), np.zeros(SMALL, np.float32)
    mlm, cell_target = len(position_target) > 0, len(target_gene) > 0
    for i in range(len(offsets) - 1):
        begin, n = offsets[i], offsets[i + 1] - offsets[i]
        genes = numba.carray(pointer(gene_at[i]), n, like.dtype)
        counts = numba.carray(pointer(count_at[i]), n, np.uint32)

        total = np.uint64(0)
        for j in range(n):
            total += np.uint64(counts[j])
        if (cell_target or mlm or values == 0) and n > 0:
            _log1p_table(np.float64(total), whole_table)
        if cell_target:
            for j in range(n):
                count = counts[j]
                target_gene[begin + j] = genes[j]
                if count < SMALL:
                    target_value[begin + j] = whole_table[count]
                else:
                    target_value[begin + j] = np.log(1.0 + count * (TARGET_SUM / np.float64(total)))

        n_kept, kept_total = n, total
        used = lengths[i] - zeros_n[i]
        simple = training and dropped > 0 and values == 0 and not mlm and 1 < used < room
        if simple:
            # All that survive are used: no list of them is needed.
            state = stream(seed, epoch, soma_joinid[i], DROPOUT)
            kept_total = survivors_sum(state, counts, dropped)
            _log1p_table(np.float64(kept_total), table)
            scale = TARGET_SUM / np.float64(kept_total)
            limit, bits, k = np.uint64(dropped), np.uint64(0), 0
            for j in range(n):
                if k == used:
                    break
                if j & 3 == 0:
                    state = advanced(state)
                    bits = mixed(state)
                count = counts[j]
                # The next survivor overwrites a gene that is dropped; a branch for that nobody could foresee.
                gene[i, k] = genes[j]
                if count < SMALL:
                    value[i, k] = table[count]
                else:
                    value[i, k] = np.log(1.0 + count * scale)
                k += (bits & np.uint64(0xFFFF)) >= limit
                bits >>= np.uint64(16)
        elif training and dropped > 0:
            n_kept = survivors(stream(seed, epoch, soma_joinid[i], DROPOUT), n, dropped, kept)
            if n_kept == 0 and n > 0:
                kept[0] = below(mixed(stream(seed, epoch, soma_joinid[i], SUBSET)), n)
                n_kept = 1
                kept_total = np.uint64(counts[kept[0]])
            else:
                kept_total = survivors_sum(stream(seed, epoch, soma_joinid[i], DROPOUT), counts, dropped)
        else:
            for j in range(n):
                kept[j] = j

        if not simple:
            n_large = 0
            if values > 0:
                n_large = _rank_table(counts, kept, n_kept, bins, table, large)
            elif kept_total == total:
                table[:] = whole_table
            else:
                _log1p_table(np.float64(kept_total), table)
            scale, n_ranked = TARGET_SUM / max(np.float64(kept_total), 1.0), n_kept
            if n_kept > room:
                ranked = large[:n_large].copy() if values > 0 else large[:0]
                if random:
                    random_subset(stream(seed, epoch, soma_joinid[i], SUBSET), kept, n_kept, room, marked)
                else:
                    _most_expressed(counts, kept, n_kept, room, large)
                large[: len(ranked)] = ranked
            for k in range(used):
                j = kept[k]
                count = counts[j]
                gene[i, k] = genes[j]
                if count < SMALL:
                    value[i, k] = table[count]
                elif values == 0:
                    value[i, k] = np.log(1.0 + count * scale)
                else:
                    lower = n_ranked - n_large + np.searchsorted(large[:n_large], count, side="left")
                    upper = n_ranked - n_large + np.searchsorted(large[:n_large], count, side="right")
                    value[i, k] = _rank_value(lower, upper, n_ranked, bins)
        if mlm and values == 0 and kept_total == total:
            position_target[i, :used] = value[i, :used]  # nothing is dropped, so the input has the whole cell's values
            position_target[i, used:] = 0
        elif mlm:
            for k in range(used):
                count = counts[kept[k]]
                if count < SMALL:
                    position_target[i, k] = whole_table[count]
                else:
                    position_target[i, k] = np.log(1.0 + count * (TARGET_SUM / np.float64(total)))
            position_target[i, used:] = 0
        if zeros_n[i] > 0:
            state = advanced(stream(seed, epoch, soma_joinid[i], ZEROS))
            measured_g, measured = measured_dv[dataset[i]], measured_d[dataset[i]]
            _add_zeros(state, genes, measured_g, measured, training, zeros_n[i], gene[i, used:], taken)
        value[i, used:] = 0
        gene[i, lengths[i] :] = 0
        if len(masked):
            state, bits = stream(seed, epoch, soma_joinid[i], MASK), np.uint64(0)
            for k in range(lengths[i]):
                if k & 3 == 0:
                    state = advanced(state)
                    bits = mixed(state)
                masked[i, k] = (bits & np.uint64(0xFFFF)) < np.uint64(hidden)
                bits >>= np.uint64(16)
            masked[i, lengths[i] :] = False

"""Compiled code that measures and fills the sequences of a batch; `wced.shards.encode` calls it."""

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from wced.shards.counter_random import (
    DROPOUT,
    GOLDEN,
    MASK,
    PANEL,
    SUBSET,
    ZEROS,
    below,
    mixed,
    number_of_survivors,
    numbers,
    random_subset,
    stream,
    survivors,
)
from wced.shards.mapped import pointer
from wced.shards.reduction import allow

RANDOM, MOST_EXPRESSED, INFORMATIVE = range(3)
"""Which genes a sequence keeps of a cell that has more than fit."""

TARGET_SUM = 10_000.0
"""Values are log1p(count / total · TARGET_SUM), the field's `log1p_10k`."""

SMALL = 32
"""Counts below this, which are most, are looked up in a table that is made once per cell."""

FINE = 19
"""Lower bits of a float32 that a histogram ignores: its bins are then a sixteenth of their value wide."""


@intrinsic
def _prefetch(typing_context, address):
    """Fetch the cache line at an address, without waiting for it."""

    def generate(context, builder, signature, arguments):
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], function)
        to_read, second_level, data = (ir.Constant(number, value) for value in (0, 2, 1))
        builder.call(fetch, [builder.inttoptr(arguments[0], byte), to_read, second_level, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@numba.njit(inline="always")
def _prefetch_bytes(address, size):
    """Fetch `size` bytes, a cache line of 64 at a time, without waiting for them."""
    for at in range(address, address + size, 64):
        _prefetch(at)


@numba.njit(inline="always")
def expressed_room(length, interleave, nonzero_ratio):
    """Return how many expressed genes fit into a sequence."""
    return max(1, np.int64(np.floor(length * nonzero_ratio))) if interleave else length


@numba.njit(nogil=True, cache=True)
def sequence_lengths(
    offsets, soma_joinid, available,
    length, zeros, nonzero_ratio, nonzero_only, dropped, training, seed, epoch,
    lengths, zeros_n,
):  # fmt: skip
    """Write how many positions each sequence has, and how many of them are zeros, of which a cell has `available`."""
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
        n_zeros = np.int64(0)
        if zeros == 1:
            n_zeros = length - used
        elif interleave:
            n_zeros = min(np.int64(np.round(used * (1.0 - nonzero_ratio) / nonzero_ratio)), length - used)
        if n_zeros > 0:
            n_zeros = max(min(n_zeros, available[i]), 0)
        zeros_n[i] = n_zeros
        lengths[i] = used + n_zeros


@numba.njit(inline="always")
def _log1p_table(scale, table):
    """Fill the table with log1p_10k of every small count of a cell; `scale` is TARGET_SUM / total."""
    for count in range(1, SMALL):
        table[count] = np.log(1.0 + count * scale)  # float64: as exact as log1p for a float32 result, and twice as fast


@numba.njit(nogil=True, cache=True)
def _small_and_large(counts, stays, large):
    """Return how many genes of each small count stay, and how many of large counts, which are written to `large`."""
    number_of, n_large = np.zeros(SMALL, np.int64), 0
    for j in range(len(counts)):
        count = counts[j]
        if count < SMALL:
            number_of[count] += stays[j]
        elif stays[j]:
            large[n_large] = count
            n_large += 1
    return number_of, n_large


@numba.njit(nogil=True, cache=True)
def _rank_table(counts, stays, n, bins, table, large):
    """Fill the table with the rank (or bin, where `bins` > 0) of every small count among the n counts that stay.

    Returns the large ones, sorted: a view of `large`.
    """
    number_of, n_large = _small_and_large(counts, stays, large)
    large[:n_large].sort()
    lower = 0
    for count in range(SMALL):
        table[count] = _rank_value(lower, lower + number_of[count], n, bins)
        lower += number_of[count]
    return large[:n_large]


@numba.njit(inline="always")
def _rank_value(lower, upper, n, bins):
    """Return the rank or bin of equal counts that have the indices lower to upper (exclusive) of n sorted ones."""
    rank = 0.5 * (lower + upper) / n
    return 1.0 + np.floor(bins * rank) if bins > 0 else rank


@numba.njit(nogil=True, cache=True)
def _large_value(count, scale, ranked, n, bins):
    """Return the value of a count beyond the table: its rank or bin where `ranked` has counts, else log1p_10k.

    Not inlined: numba would count references to the array in the loop over all genes.
    """
    if len(ranked) == 0:
        return np.float32(np.log(1.0 + count * scale))
    lower, upper = np.searchsorted(ranked, count, side="left"), np.searchsorted(ranked, count, side="right")
    return np.float32(_rank_value(n - len(ranked) + lower, n - len(ranked) + upper, n, bins))


@numba.njit(nogil=True, cache=True)
def _most_expressed(counts, stays, size, large):
    """Reduce the genes that are True in `stays` to the `size` with the largest counts; of ties the first stay."""
    number_of, n_large = _small_and_large(counts, stays, large)
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
    at_threshold = size - above
    for j in range(len(counts)):
        count = np.int64(counts[j])
        fits = stays[j] and count == threshold and at_threshold > 0
        stays[j] = (stays[j] and count > threshold) or fits
        at_threshold -= fits


@numba.njit(nogil=True, cache=True)
def _most_informative(genes, counts, stays, size, information_v, scale, key, ties):
    """Reduce the genes that are True in `stays` to the `size` with the largest log1p(count · scale) · information.

    Of ties the first stay. `key` and `ties` (int32, as long as `stays`) are work space. Non-negative float32 numbers
    are ordered like the integers of their bits; a histogram of the upper bits finds where the threshold lies.
    """
    table, number_of = np.zeros(SMALL, np.float32), np.zeros(2 ** (31 - FINE), np.int32)
    _log1p_table(scale, table)
    score = key.view(np.float32)
    for j in range(len(counts)):
        count = counts[j]
        value = table[count] if count < SMALL else np.float32(np.log(1.0 + count * scale))
        score[j] = value * information_v[genes[j]]
        number_of[key[j] >> FINE] += stays[j]
    above, part = 0, len(number_of) - 1
    while above + number_of[part] < size:
        above += number_of[part]
        part -= 1
    n_ties = 0
    for j in range(len(counts)):
        if key[j] >> FINE == part and stays[j]:
            ties[n_ties] = key[j]
            n_ties += 1
    ties[:n_ties].sort()
    threshold = ties[n_ties - (size - above)]
    at_threshold = size - above - (n_ties - np.searchsorted(ties[:n_ties], threshold, side="right"))
    for j in range(len(counts)):
        fits = stays[j] and key[j] == threshold and at_threshold > 0
        stays[j] = (stays[j] and key[j] > threshold) or fits
        at_threshold -= fits


@numba.njit(nogil=True, cache=True)
def _add_zeros(state, cell_gene, available, training, n_zeros, gene, free):
    """Write `n_zeros` genes that may be zeros and that the cell does not express to `gene`.

    `free` (genes,) says which genes may be zeros; it is overwritten. The cell does not express `available` of them.
    """
    n_genes = len(free)
    for j in range(len(cell_gene)):
        free[cell_gene[j]] = False
    done = 0
    if training and 4 * (available - n_zeros) > n_genes:
        # More than a quarter of all genes remain free to the end, so sampling until all are new is quick.
        while done < n_zeros:
            state += GOLDEN
            g = below(mixed(state), n_genes)
            gene[done] = g  # one that is not free is overwritten by the next: faster than an unpredictable branch
            done += free[g]
            free[g] = False
        return
    n_free, seen = np.count_nonzero(free), 0
    for g in range(n_genes):
        if not free[g]:
            continue
        if training:  # Knuth's algorithm S
            state += GOLDEN
            chosen = below(mixed(state), n_free - seen) < n_zeros - done
        else:
            chosen = (seen + 1) * n_zeros // n_free > seen * n_zeros // n_free
        seen += 1
        if chosen:
            gene[done] = g
            done += 1


@numba.njit(nogil=True, cache=True)
def _write(genes, counts, stays, used, table, scale, ranked, n_ranked, bins, gene, value):
    """Write the first `used` genes that stay, and their values.

    Values of small counts are in the table, others follow from `scale`; or, where values are ranks, from `ranked`: the
    large ones of the `n_ranked` counts that have ranks, sorted.
    """
    if used == len(genes):
        for k in range(used):
            count = counts[k]
            gene[k] = genes[k]
            value[k] = table[count] if count < SMALL else _large_value(count, scale, ranked, n_ranked, bins)
        return
    k = 0
    for j in range(len(genes)):
        if k == used:
            break
        # The next gene overwrites one that does not stay: faster than an unpredictable branch.
        count = counts[j]
        gene[k] = genes[j]
        value[k] = table[count] if count < SMALL else _large_value(count, scale, ranked, n_ranked, bins)
        k += stays[j]


@numba.njit(nogil=True, cache=True)
def _write_mask(state, limits, gene, words, masked):
    """Choose each position whose number is below the limit, which is the same for all or that of its gene."""
    number = numbers(state, len(masked), words)
    if len(limits) > 1:
        for k in range(len(masked)):
            masked[k] = np.int32(number[k]) < limits[gene[k]]
        return
    limit = limits[0]
    for k in range(len(masked)):
        masked[k] = np.int32(number[k]) < limit


@numba.njit(inline="always")
def _sum(counts):
    total = np.uint64(0)
    for j in range(len(counts)):
        total += np.uint64(counts[j])
    return total


@numba.njit(nogil=True, cache=True)
def fill(
    offsets, gene_at, count_at, input_offsets, input_gene_at, input_count_at, whole_at, like, soma_joinid, dataset,
    measured_dv, available, choice, room, subset, values, bins, dropped, panel_n, limits, training, seed, epoch,
    lengths, zeros_n,
    gene, value, masked, gene_masked, position_target, target_gene, target_value,
):  # fmt: skip
    """Fill the arrays of a batch; those that are not used have no rows.

    Cells come twice: whole, and as what is left of them for the input (`wced.shards.reduction`), whose counts before
    thinning are at `whole_at`. `panel_n` has the panel of each cell; it is empty where nothing was removed.
    """
    largest = gene.shape[1]
    for i in range(len(offsets) - 1):
        largest = max(largest, offsets[i + 1] - offsets[i])
    stays, before = np.empty(largest, np.bool_), np.empty(largest, np.bool_)
    words, large = np.empty(largest // 4 + 1, np.uint64), np.empty(largest, np.uint32)
    key, ties = np.empty((2, largest if subset == INFORMATIVE else 0), np.int32)
    free = np.empty(measured_dv.shape[1] if zeros_n.any() else 0, np.bool_)
    whole_table, table = np.zeros(SMALL, np.float32), np.zeros(SMALL, np.float32)
    mlm, cell_target = len(position_target) > 0, len(target_gene) > 0
    for i in range(len(offsets) - 1):
        begin, n = offsets[i], offsets[i + 1] - offsets[i]
        used, length = lengths[i] - zeros_n[i], lengths[i]
        genes = numba.carray(pointer(gene_at[i]), n, like.dtype)
        counts = numba.carray(pointer(count_at[i]), n, np.uint32)
        if i + 2 < len(offsets):
            # Cells lie anywhere in the files, so the processor cannot predict the next read.
            _prefetch_bytes(gene_at[i + 1], like.itemsize * (offsets[i + 2] - offsets[i + 1]))
            _prefetch_bytes(count_at[i + 1], 4 * (offsets[i + 2] - offsets[i + 1]))

        # The targets: all that the cell expresses.
        total = _sum(counts)
        whole_scale = TARGET_SUM / max(np.float64(total), 1.0)
        if cell_target or mlm or values == 0:
            _log1p_table(whole_scale, whole_table)
        if cell_target:
            to = slice(begin, begin + n)
            _write(
                genes, counts, stays, n, whole_table, whole_scale, large[:0], n, bins, target_gene[to], target_value[to]
            )

        # What is left for the input.
        all_genes, whole_total = genes, total
        if input_count_at[i] != count_at[i]:
            n = input_offsets[i + 1] - input_offsets[i]
            genes = numba.carray(pointer(input_gene_at[i]), n, like.dtype)
            counts = numba.carray(pointer(input_count_at[i]), n, np.uint32)
            total = _sum(counts)
        whole_counts = numba.carray(pointer(whole_at[i]), n, np.uint32)

        # Which genes stay after dropout, and the values that follow from them.
        n_stays, stays_total = n, total
        if training and dropped > 0:
            state = stream(seed, epoch, soma_joinid[i], DROPOUT)
            n_stays, stays_total = survivors(state, counts, dropped, stays, words)
            if n_stays == 0 and n > 0:
                j = below(mixed(stream(seed, epoch, soma_joinid[i], SUBSET)), n)
                stays[j], n_stays, stays_total = True, 1, np.uint64(counts[j])
        else:
            stays[:n] = True
        scale, n_ranked, ranked = TARGET_SUM / max(np.float64(stays_total), 1.0), n_stays, large[:0]
        if values > 0 and n > 0:
            ranked = _rank_table(counts, stays, n_stays, bins, table, large)
        elif stays_total == whole_total:
            for count in range(SMALL):
                table[count] = whole_table[count]
        else:
            _log1p_table(scale, table)

        # Which of them are used, and the input.
        if n_stays > room and subset == RANDOM:
            random_subset(stream(seed, epoch, soma_joinid[i], SUBSET), n, n_stays, room, stays, before, words)
        elif n_stays > room and subset == INFORMATIVE:
            _most_informative(genes, counts, stays, room, choice.information_v, scale, key[:n], ties)
        elif n_stays > room:
            ranked = ranked.copy()
            _most_expressed(counts, stays, room, large)
        _write(genes, counts, stays, used, table, scale, ranked, n_ranked, bins, gene[i], value[i])
        value[i, used:] = 0
        if mlm and values == 0 and stays_total == whole_total:
            for k in range(gene.shape[1]):
                position_target[i, k] = value[i, k]  # nothing was dropped: these are the whole cell's values
        elif mlm:
            _write(
                genes, whole_counts, stays, used, whole_table, whole_scale, large[:0], n, bins, gene[i],
                position_target[i],
            )  # fmt: skip
            position_target[i, used:] = 0

        if zeros_n[i] > 0:
            measured_g = measured_dv[dataset[i]]
            if len(panel_n):
                allow(measured_g, panel_n[i], stream(seed, epoch, soma_joinid[i], PANEL), choice, free)
            else:
                for g in range(len(free)):  # numba copies slices fifty times as slowly
                    free[g] = measured_g[g]
            state = stream(seed, epoch, soma_joinid[i], ZEROS) + GOLDEN
            _add_zeros(state, all_genes, available[i], training, zeros_n[i], gene[i, used:], free)
        gene[i, length:] = 0
        state = stream(seed, epoch, soma_joinid[i], MASK)
        if len(masked):
            _write_mask(state, limits[0], gene[i], words, masked[i, :length])
            masked[i, length:] = False
        if len(gene_masked):
            _write_mask(state, limits[1], gene[i], words, gene_masked[i, :length])
            gene_masked[i, length:] = False
            for k in range(length):  # the same numbers: the lower ones hide the value
                gene_masked[i, k] &= not masked[i, k]


@numba.njit(nogil=True, cache=True)
def mark_perturbed(gene, lengths, perturbed, state):
    """Write 1 to `state` (int8, cells × positions) where a sequence has one of the cell's perturbed genes, else 0.

    `perturbed` is int32, cells × m: vocabulary ids of each cell's perturbed genes, -1 for none.
    """
    state[:] = 0
    for i in range(len(lengths)):
        for j in range(perturbed.shape[1]):
            if perturbed[i, j] >= 0:
                for k in range(lengths[i]):
                    state[i, k] |= gene[i, k] == perturbed[i, j]

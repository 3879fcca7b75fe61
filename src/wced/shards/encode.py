"""Turn raw counts into the sequences a model reads and the targets it must predict, in compiled code.

Everything random about a cell is drawn from its own stream, seeded by (seed, epoch, soma_joinid), so a
cell's sequence depends neither on its batch nor on the number of workers.
"""

from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np

from wced.shards.cells import RaggedCells

TARGET_SUM = 10_000.0
"""Values are log1p(count / total · TARGET_SUM), the field's `log1p_10k`."""


@dataclass(frozen=True)
class Encoding:
    """How a cell becomes a sequence; without `training` nothing is dropped, interleaved or masked."""

    length: int
    """Largest number of genes in a sequence."""
    subset: Literal["random", "most_expressed"] = "random"
    """Which genes a training sequence keeps when the cell has more than fit; inference keeps the most expressed."""
    zeros: Literal["exclude", "interleave"] = "exclude"
    """Whether genes that the cell does not express are mixed in."""
    nonzero_ratio: float = 0.9
    """Share of expressed genes when zeros are interleaved."""
    dropout: float = 0.0
    """Probability that an expressed gene is left out of the input."""
    select: float = 0.0
    """Share of positions chosen for prediction (0 for no masked language modelling)."""
    mask: float = 0.0
    """Share of the chosen positions whose value is hidden."""


@dataclass(frozen=True)
class Batch:
    """A finished batch as numpy arrays: n cells, l positions, t expressed genes in all."""

    gene: np.ndarray
    """int64, (n, l): vocabulary ids; 0 at padding."""
    value: np.ndarray
    """float32, (n, l): log1p_10k over the genes that the input kept; 0 at padding."""
    length: np.ndarray
    """int64, (n,): positions that are there; the rest is padding."""
    masked: np.ndarray
    """bool, (n, l): positions whose value the model must not see."""
    position_target: np.ndarray
    """float32, (n, l): log1p_10k over the whole cell at every position."""
    target_offsets: np.ndarray
    """int64, (n + 1,): where each cell's expressed genes begin in the flat targets."""
    target_gene: np.ndarray
    """int64, (t,): vocabulary ids of all expressed genes, also those that the input lacks."""
    target_value: np.ndarray
    """float32, (t,): their log1p_10k over the whole cell."""
    dataset: np.ndarray
    """int32, (n,): row of the measured-gene mask."""
    labels: np.ndarray
    """int32, (n, label columns): class codes, -1 for unknown."""
    soma_joinid: np.ndarray
    """int64, (n,): identity of each cell."""


@numba.njit(inline="always")
def _next(state):
    """Advance a SplitMix64 stream held in state[0]; return 64 random bits (Steele et al. 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(inline="always")
def _uniform(state):
    """Return a float in [0, 1)."""
    return np.float64(_next(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@numba.njit(inline="always")
def _below(state, n):
    """Return an integer in [0, n)."""
    return np.int64(_uniform(state) * n)


@numba.njit(nogil=True, cache=True)
def _encode(
    offsets, cell_gene, cell_count, soma_joinid, dataset, measured_dv,
    length, random_subset, nonzero_ratio, interleave, dropout, select, mask, training, seed, epoch,
    gene, value, lengths, masked, position_target, target_gene, target_value,
):  # fmt: skip
    n_genes = measured_dv.shape[1]
    stamp = np.full(n_genes, -1, np.int64)  # stamp[g] == i: gene g stands in cell i already
    kept = np.empty(n_genes, np.int64)  # places in the flat arrays of the genes that survive dropout
    state = np.empty(1, np.uint64)
    for i in range(len(offsets) - 1):
        begin, end = offsets[i], offsets[i + 1]
        state[0] = (np.uint64(seed) * np.uint64(0xD1342543DE82EF95)) ^ np.uint64(soma_joinid[i])
        state[0] = _next(state) ^ np.uint64(epoch)
        _next(state)

        total = 0.0
        for j in range(begin, end):
            total += cell_count[j]
        for j in range(begin, end):
            target_gene[j] = cell_gene[j]
            target_value[j] = np.log1p(cell_count[j] * (TARGET_SUM / total))
            stamp[cell_gene[j]] = i

        n_kept, kept_total = 0, 0.0
        for j in range(begin, end):
            if not training or dropout == 0.0 or _uniform(state) >= dropout:
                kept[n_kept] = j
                kept_total += cell_count[j]
                n_kept += 1
        if n_kept == 0 and end > begin:  # dropout took everything: keep one gene, so that no cell is empty
            kept[0] = begin + _below(state, end - begin)
            kept_total = cell_count[kept[0]]
            n_kept = 1

        room = length
        if interleave and training:
            room = max(1, np.int64(np.floor(length * nonzero_ratio)))
        used = min(n_kept, room)
        if n_kept > room:
            if random_subset:  # a uniformly random subset: the first `room` of a partial Fisher-Yates shuffle
                for k in range(room):
                    other = k + _below(state, n_kept - k)
                    kept[k], kept[other] = kept[other], kept[k]
            else:  # the most expressed genes, ties by gene id: deterministic
                counts = np.empty(n_kept, np.int64)
                for k in range(n_kept):
                    counts[k] = -np.int64(cell_count[kept[k]])
                order = np.argsort(counts, kind="mergesort")
                best = kept[:n_kept].copy()
                for k in range(room):
                    kept[k] = best[order[k]]
        for k in range(used):
            j = kept[k]
            gene[i, k] = cell_gene[j]
            value[i, k] = np.log1p(cell_count[j] * (TARGET_SUM / kept_total))
            position_target[i, k] = target_value[j]

        if interleave and training:
            wanted = np.int64(np.round(used * (1.0 - nonzero_ratio) / nonzero_ratio))
            wanted = min(wanted, length - used)
            tries = 0
            while wanted > 0 and tries < 64 * length:
                tries += 1
                g = _below(state, n_genes)
                if stamp[g] != i and measured_dv[dataset[i], g]:
                    stamp[g] = i
                    gene[i, used] = g
                    used += 1
                    wanted -= 1
        lengths[i] = used

        if training and select > 0.0:
            for k in range(used):
                masked[i, k] = _uniform(state) < select and _uniform(state) < mask


def encode(
    cells: RaggedCells, measured_dv: np.ndarray, encoding: Encoding, *, training: bool, seed: int = 0, epoch: int = 0
) -> Batch:
    """Return the batch of some cells.

    Parameters
    ----------
    cells
        Raw counts of n cells.
    measured_dv
        bool, datasets × genes: genes that a dataset never measured are not sampled as zeros.
    encoding
        How a cell becomes a sequence.
    training
        Whether anything is drawn at random. Without it a cell that has more genes than fit is represented
        by its most expressed ones, and nothing is dropped, interleaved or masked.
    seed, epoch
        With a cell's soma_joinid, the seed of its stream.

    Returns
    -------
    Batch
        Padded to the longest sequence of the batch.
    """
    n, nonzeros = len(cells), len(cells.gene)
    shape = (n, encoding.length)
    gene = np.zeros(shape, np.int64)
    value, position_target = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    masked, lengths = np.zeros(shape, np.bool_), np.zeros(n, np.int64)
    target_gene, target_value = np.empty(nonzeros, np.int64), np.empty(nonzeros, np.float32)
    _encode(
        cells.offsets, cells.gene, cells.count, cells.soma_joinid, cells.dataset, measured_dv,
        encoding.length, training and encoding.subset == "random", encoding.nonzero_ratio,
        encoding.zeros == "interleave", encoding.dropout,
        encoding.select, encoding.mask, training, seed, epoch,
        gene, value, lengths, masked, position_target, target_gene, target_value,
    )  # fmt: skip
    longest = int(lengths.max(initial=1))
    return Batch(
        gene=gene[:, :longest],
        value=value[:, :longest],
        length=lengths,
        masked=masked[:, :longest],
        position_target=position_target[:, :longest],
        target_offsets=cells.offsets,
        target_gene=target_gene,
        target_value=target_value,
        dataset=cells.dataset,
        labels=cells.labels,
        soma_joinid=cells.soma_joinid,
    )

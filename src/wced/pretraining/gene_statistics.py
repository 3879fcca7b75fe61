"""What the data alone say of each gene: how often it is expressed, and how far its values are from their mean.

The sums are by block of cells, so that the cells can be resampled afterwards. A block is a dataset × one of 16 parts,
the part of a cell being a hash of its soma_joinid. Cells of a block are more alike than others, so sampling blocks with
replacement tells how far results would differ on other cells.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numba
import numpy as np
import torch
from torch import Tensor

from wced.config.pretraining import Input
from wced.shards.batches import BatchDataset
from wced.shards.cells import CellSource
from wced.shards.encode import Encoding, encode

PARTS = 16
"""Blocks of a dataset."""

MOST_DATASETS = 16
"""Datasets with blocks of their own; where a split has more of them, they share: at most 256 blocks in all."""

_CELLS = 1024
_FEW_CELLS, _LEAST_STD = 20, 0.1
"""A deviation of so few cells says nothing; a gene of a smaller one would outweigh all others."""


def part_of(soma_joinid: Tensor) -> Tensor:
    """Return each cell's part: the SplitMix64 finaliser of its soma_joinid (Steele et al. 2014), mod 16; int64."""
    # Integers of torch are signed: multiplication wraps as wanted, and a mask undoes the sign of a shift.
    z = soma_joinid.long()
    z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * (0xBF58476D1CE4E5B9 - 2**64)
    z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * (0x94D049BB133111EB - 2**64)
    return (z ^ ((z >> 31) & 0x1FFFFFFFF)) % PARTS


@dataclass(frozen=True)
class Blocks:
    """Which block a cell belongs to."""

    slot_d: np.ndarray
    """int64, (datasets,): which of the up to 16 slots a dataset has; -1 for one without cells in the split."""
    names: tuple[str, ...]
    """Dataset of each slot; where several share one, their ids joined by semicolons."""

    def __len__(self) -> int:
        return PARTS * len(self.names)

    def of(self, dataset_n: np.ndarray, soma_joinid_n: np.ndarray) -> np.ndarray:
        """Return the block of each cell, 16 · slot + part; int64, (n,)."""
        return PARTS * self.slot_d[dataset_n] + part_of(torch.from_numpy(soma_joinid_n)).numpy()


def blocks_of_datasets(dataset_ids: tuple[str, ...], codes: np.ndarray) -> Blocks:
    """Return the blocks of datasets: the k-th of `codes` (those that have cells, ascending) has the slot k mod 16."""
    slot_d = np.full(len(dataset_ids), -1, np.int64)
    slot_d[codes] = np.arange(len(codes)) % MOST_DATASETS
    slots = range(min(len(codes), MOST_DATASETS))
    return Blocks(slot_d, tuple(";".join(dataset_ids[d] for d in codes[slot::MOST_DATASETS]) for slot in slots))


def blocks_of(source: CellSource, split: str) -> Blocks:
    """Return the blocks of a split: those of the datasets that have cells in it."""
    bounds, _ = source.blocks(split, 65536)
    present = np.zeros(len(source.measured_dv), bool)
    for start, stop in pairwise(bounds):
        present[source.column("dataset", source.places(split, start, stop))] = True
    return blocks_of_datasets(tuple(source.dataset_ids), np.flatnonzero(present))


_Parts = Iterable[tuple[np.ndarray, ...]]
"""Of n cells each: their blocks and datasets, the (n + 1) offsets of their values, vocabulary ids, and log1p_10k."""


@dataclass(frozen=True)
class ValueSums:
    """What values add up to; blocks × genes."""

    n_bg: np.ndarray
    """int64: number of values, zeros included."""
    nonzero_bgs: np.ndarray
    """float64, blocks × genes × 4, of the values x that are not zero: their number, Σx, Σx², and Σ|x − mean|, where
    the mean is the gene's over all blocks (NaN where deviations were not computed)."""

    @cached_property
    def n_g(self) -> np.ndarray:
        """Number of values of each gene."""
        return self.n_bg.sum(axis=0)

    @cached_property
    def _nonzero_gs(self) -> np.ndarray:
        return self.nonzero_bgs.sum(axis=0)

    @cached_property
    def n_nonzero_g(self) -> np.ndarray:
        """Number of values that are not zero; int64."""
        return self._nonzero_gs[:, 0].astype(np.int64)

    @cached_property
    def zero_fraction_g(self) -> np.ndarray:
        """Share of zeros; NaN for a gene without values."""
        with np.errstate(invalid="ignore"):
            return 1 - self.n_nonzero_g / self.n_g

    @cached_property
    def mean_g(self) -> np.ndarray:
        """Mean of the values that are not zero; NaN where there are none."""
        return self._mean(1)

    @cached_property
    def std_g(self) -> np.ndarray:
        """Their standard deviation (divided by their number, not by one less)."""
        return np.sqrt(np.maximum(self._mean(2) - self.mean_g**2, 0))

    @property
    def error_scale_g(self) -> np.ndarray:
        """What errors of a gene's values are divided by for `value_scale: gene_std`; float32.

        The standard deviation, or 0.1 if that is more; 1 for a gene that at most 20 cells express.
        """
        scale_g = np.where(self.n_nonzero_g > _FEW_CELLS, np.maximum(self.std_g, _LEAST_STD), 1.0)
        return scale_g.astype(np.float32)

    @cached_property
    def null_mae_g(self) -> np.ndarray:
        """Mean absolute error, where a gene is expressed, of a null model that always predicts `mean_g`."""
        return self._mean(3)

    def _mean(self, which: int) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return self._nonzero_gs[:, which] / self._nonzero_gs[:, 0]


def cell_values(source: CellSource, split: str, blocks: Blocks | None = None, *, null: bool = True) -> ValueSums:
    """Return the sums over all cells of a split, of the genes that their datasets measured.

    Without `blocks` there is one block of all cells. Deviations from the mean (`null`) need a second pass over them.
    """
    bounds, _ = source.blocks(split, _CELLS)

    def parts() -> _Parts:
        for start, stop in pairwise(bounds):
            cells = source.views(source.places(split, start, stop))
            batch = encode(cells, source.measured_dv, Encoding(Input(length=2)), training=False)
            one = np.zeros(len(batch.dataset), np.int64)
            block_n = one if blocks is None else blocks.of(batch.dataset, batch.soma_joinid)
            yield block_n, batch.dataset, batch.target_offsets, batch.target_gene, batch.target_value

    cells_bd = np.zeros((1 if blocks is None else len(blocks), len(source.measured_dv)))
    nonzero_bgs = np.zeros((len(cells_bd), source.measured_dv.shape[1], 4))
    for block_n, dataset_n, *values in parts():
        np.add.at(cells_bd, (block_n, dataset_n), 1)
        _add(block_n, *values, np.empty(0), nonzero_bgs)
    n_bg = (cells_bd @ source.measured_dv).astype(np.int64)
    return _with_deviations(parts, ValueSums(n_bg, nonzero_bgs), null)


def masked_values(dataset: BatchDataset, blocks: Blocks) -> ValueSums:
    """Return the sums over the masked positions of epoch 0 of a masked language modelling dataset."""

    def parts() -> _Parts:
        for step in range(dataset.steps()):
            batch = {name: tensor.numpy() for name, tensor in dataset[0, step].items()}
            masked, offsets = batch["masked"], np.zeros(len(batch["masked"]) + 1, np.int64)
            np.cumsum(np.count_nonzero(masked, axis=1), out=offsets[1:])
            block_n = blocks.of(batch["dataset"], batch["soma_joinid"])
            yield block_n, batch["dataset"], offsets, batch["gene"][masked], batch["position_target"][masked]

    genes = dataset.source.measured_dv.shape[1]
    n_bg, nonzero_bgs = np.zeros((len(blocks), genes), np.int64), np.zeros((len(blocks), genes, 4))
    for block_n, _, offsets, gene, value in parts():
        np.add.at(n_bg, (np.repeat(block_n, np.diff(offsets)), gene), 1)
        _add(block_n, offsets, gene, value, np.empty(0), nonzero_bgs)
    return _with_deviations(parts, ValueSums(n_bg, nonzero_bgs), null=True)


def _with_deviations(parts: Callable[[], _Parts], sums: ValueSums, null: bool) -> ValueSums:
    """Fill in the deviations from the means."""
    if not null:
        sums.nonzero_bgs[:, :, 3] = np.nan
        return sums
    mean_g = sums.mean_g
    for block_n, _, *values in parts():
        _add(block_n, *values, mean_g, sums.nonzero_bgs)
    return ValueSums(sums.n_bg, sums.nonzero_bgs)


@numba.njit(nogil=True, cache=True)
def _add(block_n, offsets, gene, value, mean_g, nonzero_bgs):
    """Add number, value and square of what is not zero or, if there are means, its deviation from the gene's mean."""
    for i in np.argsort(block_n):  # so that a block's sums stay in the cache
        for k in range(offsets[i], offsets[i + 1]):
            x = np.float64(value[k])
            if x > 0 and len(mean_g):
                nonzero_bgs[block_n[i], gene[k], 3] += abs(x - mean_g[gene[k]])
            elif x > 0:
                nonzero_bgs[block_n[i], gene[k], 0] += 1
                nonzero_bgs[block_n[i], gene[k], 1] += x
                nonzero_bgs[block_n[i], gene[k], 2] += x * x

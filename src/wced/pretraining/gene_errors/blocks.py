"""Blocks of validation cells: what the errors of genes are summed over, so that they can be resampled afterwards.

A block is a dataset × one of 16 parts, the part of a cell being a hash of its soma_joinid. Cells of a block belong
together more than any others do, so drawing blocks with replacement says how far results would differ on other cells.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from wced.shards.cells import CellSource

PARTS = 16
"""Blocks of a dataset."""

MOST_DATASETS = 16
"""Datasets with blocks of their own; where a split has more of them, they share: at most 256 blocks in all."""

_CELLS = 65536


def part_of(soma_joinid: torch.Tensor) -> torch.Tensor:
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
        """Return the number of blocks: 16 for each slot."""
        return PARTS * len(self.names)

    def of(self, dataset_n: np.ndarray, soma_joinid_n: np.ndarray) -> np.ndarray:
        """Return the block of each cell, 16 · slot + part; int64, (n,)."""
        return PARTS * self.slot_d[dataset_n] + part_of(torch.from_numpy(soma_joinid_n)).numpy()


def blocks_of_datasets(dataset_ids: tuple[str, ...], codes: np.ndarray) -> Blocks:
    """Return the blocks of datasets: the k-th of them, ordered by code, has the slot k mod 16.

    Parameters
    ----------
    dataset_ids
        All datasets in the order of their codes.
    codes
        Codes of the datasets that have cells, ascending.
    """
    slot_d = np.full(len(dataset_ids), -1, np.int64)
    slot_d[codes] = np.arange(len(codes)) % MOST_DATASETS
    slots = range(min(len(codes), MOST_DATASETS))
    return Blocks(slot_d, tuple(";".join(dataset_ids[d] for d in codes[slot::MOST_DATASETS]) for slot in slots))


def blocks_of(source: CellSource, split: str) -> Blocks:
    """Return the blocks of a split: those of the datasets that have cells in it."""
    bounds, _ = source.blocks(split, _CELLS)
    present = np.zeros(len(source.measured_dv), bool)
    for start, stop in pairwise(bounds):
        present[source.column("dataset", source.places(split, start, stop))] = True
    return blocks_of_datasets(tuple(source.dataset_ids), np.flatnonzero(present))

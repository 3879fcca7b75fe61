"""Shuffled, resumable batches of shards for torch."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from wced.shards.encode import Batch, Encoding, encode
from wced.shards.reader import ShardSet

TensorBatch = dict[str, torch.Tensor]
"""The fields of `Batch` as tensors, by name."""


def to_tensors(batch: Batch) -> TensorBatch:
    """Return the arrays of a batch as tensors that share their memory where they can."""
    return {field.name: torch.from_numpy(np.ascontiguousarray(getattr(batch, field.name))) for field in fields(batch)}


class BatchDataset(Dataset):
    """Item (epoch, number) is a whole batch: the cells of that place in the epoch's order, encoded."""

    def __init__(
        self, shards: ShardSet, split: str, encoding: Encoding, *, batch_size: int, shuffle: bool, training: bool,
        seed: int,
    ) -> None:  # fmt: skip
        """Prepare batches of a split.

        Parameters
        ----------
        shards, split
            Which cells.
        encoding
            How a cell becomes a sequence.
        batch_size
            Cells of a batch; the last one of an epoch may be smaller.
        shuffle
            Whether each epoch has its own random order, seeded by (seed, epoch).
        training
            Passed on to `encode`: whether sequences are drawn at random.
        seed
            Seed of order and sequences.
        """
        self.shards, self.encoding, self.batch_size = shards, encoding, batch_size
        self.shuffle, self.training, self.seed = shuffle, training, seed
        self.cells = shards.cells_of(split)
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self.cells) // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Return the cells of an epoch in order; int64."""
        if not self.shuffle:
            return self.cells
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, epoch)).permutation(self.cells))
        return self._order[1]

    def __getitem__(self, key: tuple[int, int]) -> TensorBatch:
        """Return batch `number` of `epoch`."""
        epoch, number = key
        cells = self.order(epoch)[number * self.batch_size : (number + 1) * self.batch_size]
        ragged = self.shards.take(cells)
        batch = encode(
            ragged, self.shards.measured_dv, self.encoding, training=self.training, seed=self.seed, epoch=epoch
        )
        return to_tensors(batch)


class EpochSampler(Sampler[tuple[int, int]]):
    """Keys of a rank's batches, epoch after epoch, from any batch on."""

    def __init__(self, batches: int, *, rank: int, ranks: int, advance: bool) -> None:
        """Divide the batches of an epoch over ranks.

        Parameters
        ----------
        batches
            Batches of an epoch over all ranks.
        rank, ranks
            This process and how many there are.
        advance
            Whether each pass is a new epoch (training), or the same one again (validation). In training a remainder
            that would leave a rank short wraps around, because ranks step together; in validation every batch is
            scored once.
        """
        self.batches, self.rank, self.ranks, self.advance = batches, rank, ranks, advance
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return -(-self.batches // self.ranks) if self.advance else len(range(self.rank, self.batches, self.ranks))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, start = self.epoch, self.start
        self.start = 0
        if self.advance:
            self.epoch += 1
        for turn in range(start, len(self)):
            yield epoch, (turn * self.ranks + self.rank) % self.batches


class BatchLoader(DataLoader):
    """A DataLoader of finished batches whose place can be saved and restored (Lightning calls both)."""

    def __init__(self, dataset: BatchDataset, *, rank: int = 0, ranks: int = 1) -> None:
        """Wrap a dataset; batches are made in this process, in a few milliseconds each."""
        sampler = EpochSampler(len(dataset), rank=rank, ranks=ranks, advance=dataset.training and dataset.shuffle)
        # With a generator of its own, making an iterator takes no number from the global one, which a resumed
        # training (it makes one more) must find as it was.
        super().__init__(
            dataset, sampler=sampler, batch_size=None, collate_fn=_as_is, generator=torch.Generator()
        )  # fmt: skip
        self._epoch, self._done = 0, 0

    def __iter__(self) -> Iterator[TensorBatch]:
        self._epoch, self._done = self.sampler.epoch, self.sampler.start
        for batch in super().__iter__():
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and how many of its batches have been handed out."""
        return {"epoch": self._epoch, "done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch handed out; a finished epoch is followed by the next one."""
        epoch, done = state["epoch"], state["done"]
        if done >= len(self.sampler):
            epoch, done = epoch + int(self.sampler.advance), 0
        self.sampler.epoch, self.sampler.start = epoch, done
        self._epoch, self._done = epoch, done


def _as_is(batch: TensorBatch) -> TensorBatch:
    return batch

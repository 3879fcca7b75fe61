"""Shuffled, resumable batches for torch, from any number of ranks and workers."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from wced.shards.cells import RaggedCells
from wced.shards.encode import Batch, Encoding, encode
from wced.shards.order import CellSource, EpochOrder, Order

TensorBatch = dict[str, torch.Tensor]
"""The fields of `Batch` (or of `RaggedCells`, for batches of raw counts) as tensors, by name."""

SEQUENTIAL = Order(strategy="sequential")


def to_tensors(batch: Batch | RaggedCells) -> TensorBatch:
    """Return the arrays that a batch has as tensors that share their memory."""
    arrays = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}


class BatchKey(NamedTuple):
    """Which batch."""

    epoch: int
    step: int
    rank: int = 0
    ranks: int = 1


class BatchDataset(Dataset):
    """Item (epoch, step, rank, ranks) is a whole batch, finished; the same wherever and whenever it is made.

    An epoch of N cells has S = ⌈N / (batch_size · ranks)⌉ steps. Step s holds the cells from ⌊N·s/S⌋ to ⌊N·(s+1)/S⌋ of
    the epoch's order, dealt out to the ranks in turn: every cell once, as many batches for every rank, and sizes that
    differ by one at most. So the steps of two ranks with half the batch hold the same cells as those of one.
    """

    def __init__(
        self,
        source: CellSource,
        split: str,
        encoding: Encoding | None,
        *,
        batch_size: int,
        training: bool,
        seed: int,
        order: Order = SEQUENTIAL,
        bucket_steps: int = 1,
    ) -> None:
        """Prepare batches of a split.

        Parameters
        ----------
        source, split
            Which cells.
        encoding
            How a cell becomes a sequence; None for batches of raw counts.
        batch_size
            Largest number of cells of a batch (but for tiny splits: no rank is left without a cell).
        training
            Passed on to `encode`: whether sequences are drawn at random.
        seed
            Seed of order and sequences.
        order
            In which order an epoch visits the cells.
        bucket_steps
            Length buckets: the cells of this many steps are sorted by the length of their sequences, so that a batch
            needs little padding; the steps then stand in random order. 1 for none.
        """
        self.source, self.encoding, self.batch_size = source, encoding, batch_size
        self.training, self.seed, self.bucket_steps = training, seed, bucket_steps
        self.order = EpochOrder(source, split, order, seed)
        self._window: tuple[tuple[int, int, int], list[np.ndarray]] | None = None

    def steps(self, ranks: int = 1) -> int:
        """Return the number of batches of each rank in an epoch."""
        cells = len(self.order)
        if cells < ranks:
            raise ValueError(f"{cells} cells can not be shared by {ranks} ranks")
        return min(-(-cells // (self.batch_size * ranks)), cells // ranks)

    def __len__(self) -> int:
        return self.steps()

    def cells(self, key: BatchKey) -> np.ndarray:
        """Return the places of the cells of a batch; int64."""
        epoch, step, rank, ranks = key
        return self._step_cells(epoch, step, self.steps(ranks))[rank::ranks]

    def _step_cells(self, epoch: int, step: int, steps: int) -> np.ndarray:
        """Return the cells of a step over all ranks, sorted by length within windows of `bucket_steps`."""
        total = len(self.order)
        if self.bucket_steps == 1:
            return self.order.cells(epoch, total * step // steps, total * (step + 1) // steps)
        window = step // self.bucket_steps
        first, last = window * self.bucket_steps, min((window + 1) * self.bucket_steps, steps)
        if self._window is None or self._window[0] != (epoch, window, steps):
            bounds = total * np.arange(first, last + 1) // steps
            cells = self.order.cells(epoch, bounds[0], bounds[-1])
            lengths = np.diff(self.source.offsets(cells))
            if self.encoding is not None:
                lengths = np.minimum(lengths, self.encoding.length)
            cells = cells[np.argsort(lengths, kind="stable")]
            # The shortest cells go to a random step, the next ones to another.
            turn = np.random.default_rng((self.seed, epoch, window, steps)).permutation(last - first)
            cuts = np.cumsum(np.diff(bounds)[turn])[:-1]
            parts = dict(zip(turn.tolist(), np.split(cells, cuts), strict=True))
            self._window = (epoch, window, steps), [parts[i] for i in range(last - first)]
        return self._window[1][step - first]

    def __getitem__(self, key: tuple[int, ...]) -> TensorBatch:
        """Return the batch of a `BatchKey`."""
        key = BatchKey(*key)
        cells = self.source.take(self.cells(key))
        if self.encoding is None:
            return to_tensors(cells)
        return to_tensors(
            encode(
                cells, self.source.measured_dv, self.encoding, training=self.training, seed=self.seed, epoch=key.epoch,
                measured_d=self.source.measured_d,
            )
        )  # fmt: skip


class EpochSampler(Sampler[BatchKey]):
    """Keys of a rank's batches, epoch after epoch, from any step on."""

    def __init__(self, steps: int, *, rank: int, ranks: int, advance: bool) -> None:
        """Prepare the keys of one rank.

        Parameters
        ----------
        steps
            Steps of an epoch.
        rank, ranks
            This process and how many there are.
        advance
            Whether each pass is a new epoch (training), or the same one again (validation).
        """
        self.steps, self.rank, self.ranks, self.advance = steps, rank, ranks, advance
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[BatchKey]:
        epoch, start = self.epoch, self.start
        self.start = 0
        if self.advance:
            self.epoch += 1
        for step in range(start, self.steps):
            yield BatchKey(epoch, step, self.rank, self.ranks)


class BatchLoader(DataLoader):
    """A DataLoader of finished batches whose place can be saved and restored (Lightning calls both)."""

    def __init__(
        self, dataset: BatchDataset, *, rank: int = 0, ranks: int = 1, workers: int = 0, pin_memory: bool = False
    ) -> None:
        """Wrap a dataset.

        Parameters
        ----------
        dataset
            Its batches.
        rank, ranks
            This process and how many there are.
        workers
            Processes that make batches ahead of time; 0 to make them in this one. Batches are the same.
        pin_memory
            Whether batches are put where a GPU can fetch them without waiting.
        """
        sampler = EpochSampler(dataset.steps(ranks), rank=rank, ranks=ranks, advance=dataset.order.advances)
        # Workers are not forked from a process that has threads of torch or CUDA, but from a server that has only
        # imported this module; they start once and open the shards themselves. With a generator of its own, making
        # an iterator takes no number from the global one, which a resumed training (it makes one more) must find as
        # it was.
        options: dict[str, Any] = {}
        if workers:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            options = {"multiprocessing_context": context, "persistent_workers": True, "prefetch_factor": 4}
        super().__init__(
            dataset, sampler=sampler, batch_size=None, collate_fn=_as_is, num_workers=workers, pin_memory=pin_memory,
            generator=torch.Generator(), **options,
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

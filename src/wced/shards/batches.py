"""Shuffled, resumable batches for torch, from any number of ranks and workers."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from wced.shards.cells import RaggedCells
from wced.shards.choice import choice_probabilities
from wced.shards.encode import Batch, Encoding, encode, mask_limits
from wced.shards.epochs import step_order
from wced.shards.input_genes import GeneChoice
from wced.shards.order import CellSource, Order

TensorBatch = dict[str, torch.Tensor]
"""The fields of `Batch` (or of `RaggedCells`, for batches of raw counts) as tensors, by name."""

SEQUENTIAL = Order(strategy="sequential")

AHEAD = 2
"""Batches that each worker makes ahead of the one handed out."""

SAMPLE_CELLS = 4096
"""Cells that say how often sequences hold each gene, where genes are not chosen uniformly."""


def to_tensors(batch: Batch | RaggedCells | dict[str, np.ndarray]) -> TensorBatch:
    """Return the arrays that a batch has as tensors that share their memory."""
    arrays = batch if isinstance(batch, dict) else {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: torch.from_numpy(array) for name, array in arrays.items() if array is not None}


class BatchKey(NamedTuple):
    """Which batch."""

    epoch: int
    step: int
    rank: int = 0
    ranks: int = 1


class BatchDataset(Dataset):
    """Item (epoch, step, rank, ranks) is a whole batch, finished; the same wherever and whenever it is made.

    (As long as the weights of genes are the same: whoever sets them has to set them again when it resumes.)

    An epoch of N cells has S = ⌈N / (batch_size · ranks)⌉ steps. Step s holds the cells from ⌊N·s/S⌋ to ⌊N·(s+1)/S⌋ of
    the epoch's order, dealt out to the ranks in turn: every cell once, as many batches for every rank, and sizes that
    differ by one at most. So the steps of two ranks with half the batch hold the same cells as those of one. With
    batches of one dataset each, a step holds ⌈N / S⌉ cells of one dataset; see `wced.shards.epochs.DatasetOrder`.
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
        choice: GeneChoice | None = None,
        views: int = 1,
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
            Length buckets: the cells of this many steps (of one dataset, where batches are) are sorted by the length of
            their sequences, so that a batch needs little padding; the steps then stand in random order. 1 for none.
        choice
            What the model knows of the genes of its input; for an encoding that `chooses`.
        views
            With 2, batches also have `view_gene`, `view_value` and `view_length`: a second input of the same cells,
            without masks, for which everything random is sampled anew.
        """
        self._arguments = {
            "source": source, "split": split, "encoding": encoding, "batch_size": batch_size, "training": training,
            "seed": seed, "order": order, "bucket_steps": bucket_steps, "choice": choice, "views": views,
        }  # fmt: skip
        self.source, self.encoding, self.batch_size, self.choice = source, encoding, batch_size, choice
        self.training, self.seed, self.bucket_steps, self.views = training, seed, bucket_steps, views
        self.order = step_order(source, split, order, seed)
        self._sorted = lru_cache(self.order.streams)(self._sorted_steps)
        self._weights_g: np.ndarray | None = None
        self._limits: np.ndarray | None = None
        self._lock = threading.Lock()  # the order keeps what it used last, and several threads may ask

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
        with self._lock:
            return self._step_cells(epoch, step, self.steps(ranks))[rank::ranks]

    def __reduce__(self) -> tuple[Any, ...]:
        """Be made anew in another process (torch's own DataLoader with workers); a lock does not travel."""
        return _made_anew, (self._arguments, self._weights_g)

    def set_gene_weights(self, weights_g: np.ndarray | None) -> None:
        """Choose positions of some genes more often for prediction than those of others, from the next batch made on.

        To be called between epochs: batches made ahead have the weights of before.

        Parameters
        ----------
        weights_g
            (genes,): relative weights, at least 0 (see `wced.shards.choice`); None for all genes alike. On average over
            the positions of this dataset's sequences the encoding's share `select` stays.

        Raises
        ------
        ValueError
            If there is no masking, or the weights are none.
        """
        if weights_g is None:
            self._weights_g = self._limits = None
            return
        if not (self.training and self.encoding is not None and self.encoding.select > 0):
            raise ValueError("genes can only have weights where training chooses positions for prediction")
        chosen_g = choice_probabilities(weights_g, self._positions_g, self.encoding.select)
        self._weights_g, self._limits = np.array(weights_g), mask_limits(self.encoding, chosen_g)

    @cached_property
    def _positions_g(self) -> np.ndarray:
        """Return how often the sequences of the first cells of epoch 0 hold each gene, and once more; int64."""
        with self._lock:
            steps = self.steps()
            first = range(min(steps, -(-SAMPLE_CELLS // self.batch_size)))
            runs = [self.order.run(0, step, steps, 1) for step in first]
            places = np.concatenate([self.order.taken(run.stream, *run.bounds) for run in runs])[:SAMPLE_CELLS]
        encoding = replace(self.encoding, select=0.0, cell_target=False)
        positions_g = np.ones(self.source.measured_dv.shape[1], np.int64)
        for part in np.split(places, range(self.batch_size, len(places), self.batch_size)):
            batch = encode(
                self.source.views(part), self.source.measured_dv, encoding, training=True, seed=self.seed,
                measured_d=self.source.measured_d, choice=self.choice,
            )  # fmt: skip
            there = np.arange(batch.gene.shape[1]) < batch.length[:, None]
            positions_g += np.bincount(batch.gene[there], minlength=len(positions_g))
        return positions_g

    def _step_cells(self, epoch: int, step: int, steps: int) -> np.ndarray:
        """Return the cells of a step over all ranks, sorted by length within runs of `bucket_steps`."""
        run = self.order.run(epoch, step, steps, self.bucket_steps)
        if self.bucket_steps == 1:
            return self.order.taken(run.stream, *run.bounds)
        return self._sorted(run.stream, run.bounds)[run.at]

    def _sorted_steps(self, stream: int, bounds: tuple[int, ...]) -> list[np.ndarray]:
        """Return the cells of each of some steps that follow each other, sorted by length before they were cut."""
        cells = self.order.taken(stream, bounds[0], bounds[-1])
        lengths = np.diff(self.source.offsets(cells))
        if self.encoding is not None:
            lengths = np.minimum(lengths, self.encoding.length)
        cells = cells[np.argsort(lengths, kind="stable")]
        # The shortest cells go to a random step, the next ones to another.
        turn = np.random.default_rng((self.seed, stream, *bounds[:2])).permutation(len(bounds) - 1)
        parts = np.split(cells, np.cumsum(np.diff(bounds)[turn])[:-1])
        return [parts[i] for i in np.argsort(turn)]

    def __getitem__(self, key: tuple[int, ...]) -> TensorBatch:
        """Return the batch of a `BatchKey`."""
        key = BatchKey(*key)
        places = self.cells(key)
        if self.encoding is None:
            return to_tensors(self.source.take(places))
        cells = self.source.views(places)
        # Sampled anew for each pass over the cells, of which an epoch may have several, or parts of one.
        epoch = self.order.turn(key.epoch, key.step, self.steps(key.ranks))
        encoding = self._encoding(key)
        common = {"training": self.training, "seed": self.seed, "epoch": epoch}
        common |= {"measured_d": self.source.measured_d, "choice": self.choice}
        batch = to_tensors(encode(cells, self.source.measured_dv, encoding, limits=self._limits, **common))
        if self.views > 1:
            plain = replace(encoding, select=0.0, cell_target=False)
            view = encode(cells, self.source.measured_dv, plain, view=1, **common)
            batch |= to_tensors({"view_gene": view.gene, "view_value": view.value, "view_length": view.length})
        return batch

    def _encoding(self, key: BatchKey) -> Encoding:
        """Return the encoding of a step, which may have a length of its own: the same for all ranks."""
        shortest, longest = self.encoding.shortest, self.encoding.length
        if shortest is None or not self.training:
            return self.encoding
        share = np.random.default_rng((self.seed, key.epoch, key.step)).random()
        return replace(self.encoding, length=int(shortest * ((longest + 1) / shortest) ** share))


class BatchLoader:
    """The batches of one rank, epoch after epoch; its place can be saved and restored (Lightning calls both)."""

    def __init__(
        self, dataset: BatchDataset, *, rank: int = 0, ranks: int = 1, workers: int = 0, pin_memory: bool = False
    ) -> None:
        """Prepare the batches of a rank.

        Parameters
        ----------
        dataset
            Its batches. Each pass over a shuffled one is a new epoch, over a sequential one the same again.
        rank, ranks
            This process and how many there are.
        workers
            Threads that make batches ahead of time, 0 to make each when it is asked for. Batches are the same. Threads,
            because almost all of the work is compiled code that lets other threads run: processes would have to
            copy each batch, which takes longer than to make it.
        pin_memory
            Whether batches are put where a GPU can fetch them without waiting.
        """
        self.dataset, self.rank, self.ranks, self.workers, self.pin_memory = dataset, rank, ranks, workers, pin_memory
        self.steps = dataset.steps(ranks)
        self._next = {"epoch": 0, "done": 0}
        self._state = dict(self._next)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self.steps

    def __iter__(self) -> Iterator[TensorBatch]:
        """Make the rest of the epoch that a restored state was in, or a whole one."""
        self._state = dict(self._next)
        self._next = self._following(self._state["epoch"])
        epoch = self._state["epoch"]
        keys = [BatchKey(epoch, step, self.rank, self.ranks) for step in range(self._state["done"], self.steps)]
        for batch in self._ahead(keys) if self.workers else map(self._made, keys):
            self._state["done"] += 1
            yield batch

    def _made(self, key: BatchKey) -> TensorBatch:
        batch = self.dataset[key]
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self.pin_memory else batch

    def _ahead(self, keys: list[BatchKey]) -> Iterator[TensorBatch]:
        """Make batches in threads, a few ahead of the one that is handed out, in order."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="batches")
        try:
            coming: deque[Future[TensorBatch]] = deque()
            for key in keys:
                coming.append(pool.submit(self._made, key))
                if len(coming) > AHEAD * self.workers:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:  # also when whoever iterates stops early
            pool.shutdown(wait=True, cancel_futures=True)

    def _following(self, epoch: int) -> dict[str, int]:
        return {"epoch": epoch + int(self.dataset.order.order.advances), "done": 0}

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and how many of its batches have been handed out."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch handed out; a finished epoch is followed by the next one."""
        finished = state["done"] >= self.steps
        self._next = self._following(state["epoch"]) if finished else {key: state[key] for key in ("epoch", "done")}
        self._state = dict(self._next)


def _made_anew(arguments: dict[str, Any], weights_g: np.ndarray | None) -> BatchDataset:
    dataset = BatchDataset(**arguments)
    dataset.set_gene_weights(weights_g)
    return dataset

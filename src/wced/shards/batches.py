"""Shuffled, resumable batches for torch, from any number of ranks and workers."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from wced.config.pretraining import Order
from wced.shards.blocks import capped_shares
from wced.shards.cells import CellSource, CellViews, RaggedCells
from wced.shards.encode import Batch, Encoding, encode, mask_limits, measured_counts
from wced.shards.epochs import DatasetOrder, EpochOrder
from wced.shards.input_genes import GeneChoice

TensorBatch = dict[str, torch.Tensor]
"""The fields of `Batch` (or of `RaggedCells`, for batches of raw counts) as tensors, by name."""

AHEAD = 2
"""Batches that each worker makes ahead of the one handed out."""

SAMPLE_CELLS = 4096
"""Cells that tell how often sequences hold each gene, where genes are not chosen uniformly."""


def to_tensors(batch: Batch | RaggedCells) -> TensorBatch:
    """Return the arrays of a batch as tensors that share their memory."""
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
    the epoch's order, dealt out to the ranks in turn: every cell once, equally many batches for every rank, and sizes
    that differ by one at most. So the steps of two ranks with half the batch hold the same cells as those of one. With
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
        order: Order | None = None,
        choice: GeneChoice | None = None,
        views: int = 1,
    ) -> None:
        """Prepare batches of a split.

        Without an `encoding` they are raw counts, without an `order` every epoch is in the order of the source.
        `training` and `choice` are those of `encode`, `seed` is that of order and sequences. Batches have at most
        `batch_size` cells (except in tiny splits: no rank is left without a cell). With 2 `views` they also have
        `view_gene`, `view_value` and `view_length`: a second input of the same cells, without masks, for which
        everything random is sampled anew.
        """
        self._arguments = {
            "source": source, "split": split, "encoding": encoding, "batch_size": batch_size, "training": training,
            "seed": seed, "order": order, "choice": choice, "views": views,
        }  # fmt: skip
        self.source, self.encoding, self.batch_size, self.choice = source, encoding, batch_size, choice
        self.training, self.seed, self.views = training, seed, views
        by_dataset = order is not None and order.batches == "one_dataset"
        self.order = (DatasetOrder if by_dataset else EpochOrder)(source, split, order, seed)
        self._bucket_steps = order.bucket_steps if order else 1
        self._sorted = lru_cache(self.order.streams)(self._sorted_steps)
        self._measured_d = measured_counts(source.measured_dv)
        self._weights_g: np.ndarray | None = None
        self._limits: np.ndarray | None = None
        self._lock = threading.Lock()  # the order keeps what it used last, and several threads may ask

    def steps(self, ranks: int = 1) -> int:
        """Return the number of batches of each rank in an epoch."""
        cells = len(self.order)
        if cells < ranks:
            raise ValueError(f"{cells} cells cannot be shared by {ranks} ranks")
        return min(-(-cells // (self.batch_size * ranks)), cells // ranks)

    def __len__(self) -> int:
        return self.steps()

    def cells(self, key: BatchKey) -> np.ndarray:
        """Return the rows of the cells of a batch; int64."""
        epoch, step, rank, ranks = key
        with self._lock:
            run = self.order.run(epoch, step, self.steps(ranks), self._bucket_steps)
            if self._bucket_steps == 1:
                return self.order.cells(run.stream, *run.bounds)[rank::ranks]
            return self._sorted(run.stream, run.bounds)[run.at][rank::ranks]

    def __reduce__(self) -> tuple[Any, ...]:
        """Build it again in another process (torch's own DataLoader with workers); a lock cannot be pickled."""
        return partial(BatchDataset, **self._arguments), (), self._weights_g

    def __setstate__(self, weights_g: np.ndarray) -> None:
        self.set_gene_weights(weights_g)

    def set_gene_weights(self, weights_g: np.ndarray | None) -> None:
        """Choose positions of some genes for prediction more often than those of others, from the next batch on.

        To be called between epochs, as batches made ahead have the weights of before, and again after a restart.

        `weights_g` has relative weights of at least 0, (genes,), or is None for equal ones. On average over the
        positions of this dataset's sequences the share `mlm.select` stays; see `choice_probabilities`. Raises
        ValueError if there is no masking, or the weights are not as many finite numbers of at least 0.
        """
        if weights_g is None:
            self._weights_g = self._limits = None
            return
        mlm = self.encoding and self.encoding.mlm
        if not (self.training and mlm):
            raise ValueError("genes can only have weights where training chooses positions for prediction")
        chosen_g = choice_probabilities(weights_g, self._positions_g, mlm.select)
        self._weights_g, self._limits = np.array(weights_g), mask_limits(mlm, chosen_g)

    @cached_property
    def _positions_g(self) -> np.ndarray:
        """Return how often the sequences of the first cells of epoch 0 hold each gene, plus 1; int64."""
        with self._lock:
            steps = self.steps()
            first = range(min(steps, -(-SAMPLE_CELLS // self.batch_size)))
            runs = [self.order.run(0, step, steps, 1) for step in first]
            rows = np.concatenate([self.order.cells(run.stream, *run.bounds) for run in runs])[:SAMPLE_CELLS]
        positions_g = np.ones(self.source.measured_dv.shape[1], np.int64)
        for part in np.split(rows, range(self.batch_size, len(rows), self.batch_size)):
            batch = self._encoded(self.source.views(part), self.encoding.unmasked, epoch=0)
            present = np.arange(batch.gene.shape[1]) < batch.length[:, None]
            positions_g += np.bincount(batch.gene[present], minlength=len(positions_g))
        return positions_g

    def _sorted_steps(self, stream: int, bounds: tuple[int, ...]) -> list[np.ndarray]:
        """Return the cells of each of some consecutive steps, sorted by length before they were cut."""
        cells = self.order.cells(stream, bounds[0], bounds[-1])
        lengths = np.diff(self.source.offsets(cells))
        if self.encoding is not None:
            lengths = np.minimum(lengths, self.encoding.input.length)
        cells = cells[np.argsort(lengths, kind="stable")]
        # The shortest cells go to a random step, the next ones to another.
        turn = np.random.default_rng((self.seed, stream, *bounds[:2])).permutation(len(bounds) - 1)
        parts = np.split(cells, np.cumsum(np.diff(bounds)[turn])[:-1])
        return [parts[i] for i in np.argsort(turn)]

    def __getitem__(self, key: tuple[int, ...]) -> TensorBatch:
        """Return the batch of a `BatchKey`."""
        key = BatchKey(*key)
        rows = self.cells(key)
        if self.encoding is None:
            return to_tensors(self.source.take(rows))
        cells = self.source.views(rows)
        # Sampled anew for each pass over the cells, of which an epoch may have several, or parts of one.
        epoch = self.order.turn(key.epoch, key.step, self.steps(key.ranks))
        encoding = self._encoding(key)
        batch = to_tensors(self._encoded(cells, encoding, epoch=epoch, limits=self._limits))
        if self.views > 1:
            view = self._encoded(cells, encoding.unmasked, epoch=epoch, seed=self.seed + (1 << 40))
            batch |= {f"view_{name}": torch.from_numpy(getattr(view, name)) for name in ("gene", "value", "length")}
        return batch

    def _encoded(self, cells: CellViews, encoding: Encoding, **options: Any) -> Batch:
        options = {"seed": self.seed, "measured_d": self._measured_d, "choice": self.choice} | options
        return encode(cells, self.source.measured_dv, encoding, training=self.training, **options)

    def _encoding(self, key: BatchKey) -> Encoding:
        """Return the encoding of a step, which may have a length of its own: the same for all ranks."""
        shortest, longest = self.encoding.input.min_length, self.encoding.input.length
        if shortest is None or not self.training:
            return self.encoding
        share = np.random.default_rng((self.seed, key.epoch, key.step)).random()
        length = int(shortest * ((longest + 1) / shortest) ** share)
        return replace(self.encoding, input=self.encoding.input.model_copy(update={"length": length}))


def choice_probabilities(weights_g: np.ndarray, positions_g: np.ndarray, select: float) -> np.ndarray:
    """Return how likely a position that holds each gene is chosen: p_g = min(1, c · w_g); float64, (genes,).

    c is such that on average over all positions, Σ n_g p_g / Σ n_g, the share `select` is chosen. It is smaller only
    where the genes of positive weight have fewer positions than that. `weights_g` are relative weights w, finite and at
    least 0 (below 1e-12 of the largest they count as 0); `positions_g` says how often sequences hold each gene, n > 0.
    """
    weights_g, positions_g = np.asarray(weights_g, np.float64), np.asarray(positions_g, np.float64)
    if weights_g.shape != positions_g.shape or not (np.isfinite(weights_g) & (weights_g >= 0)).all():
        raise ValueError(f"weights of {len(positions_g)} genes must be as many finite numbers, none of them negative")
    weights_g = np.where(weights_g < 1e-12 * weights_g.max(initial=0.0), 0.0, weights_g)
    return capped_shares(weights_g, positions_g, select * positions_g.sum(), 1.0)


class BatchLoader:
    """The batches of one rank, epoch after epoch; its state can be saved and restored (Lightning calls both)."""

    def __init__(
        self, dataset: BatchDataset, *, rank: int = 0, ranks: int = 1, workers: int = 0, pin_memory: bool = False
    ) -> None:
        """Prepare the batches of one rank of `ranks`; each pass over a shuffled dataset is a new epoch.

        `workers` threads make batches ahead of time; with 0 each is made when it is needed, and batches are the same.
        Threads, because almost all of the work is compiled code that lets other threads run: processes would have to
        copy each batch, which takes longer than to make it. `pin_memory` lets a GPU fetch batches without waiting.
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
        epoch = self._state["epoch"]
        self._next = self._following(epoch)
        keys = [BatchKey(epoch, step, self.rank, self.ranks) for step in range(self._state["done"], self.steps)]
        for batch in self._ahead(keys) if self.workers else map(self._batch, keys):
            self._state["done"] += 1
            yield batch

    def _batch(self, key: BatchKey) -> TensorBatch:
        batch = self.dataset[key]
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if self.pin_memory else batch

    def _ahead(self, keys: list[BatchKey]) -> Iterator[TensorBatch]:
        """Make batches in threads, a few ahead of the one that is handed out, in order."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="batches")
        try:
            pending: deque[Future[TensorBatch]] = deque()
            for key in keys:
                pending.append(pool.submit(self._batch, key))
                if len(pending) > AHEAD * self.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # also when the consumer stops early
            pool.shutdown(wait=True, cancel_futures=True)

    def _following(self, epoch: int) -> dict[str, int]:
        return {"epoch": epoch + int(self.dataset.order.blocks.shuffled), "done": 0}

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and how many of its batches have been handed out."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the last batch handed out; a finished epoch is followed by the next one."""
        finished = state["done"] >= self.steps
        self._next = self._following(state["epoch"]) if finished else {key: state[key] for key in ("epoch", "done")}
        self._state = dict(self._next)

"""The works of the systems as iterators over what each batch held, and what is measured of them."""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse, stats

from speed.machine import last_level_cache
from speed.systems import BATCH_SIZE, INPUTS, ORDERS
from wced.config.pretraining import Input, Masked, Order
from wced.shards.cells import RaggedCells, id_dtype
from wced.shards.encode import Encoding, encode
from wced.shards.input_genes import InputGenes, gene_choice

if TYPE_CHECKING:
    import torch

    from wced.shards.batches import BatchLoader

    Batches = Iterable[dict[str, torch.Tensor]]

SEED = 0
IDENTITIES = 1000
"""Batches of a repeat whose entropy is computed: enough for a mean, and bounded in memory."""


class Done(NamedTuple):
    """What one batch held."""

    cells: int
    tokens: int
    """Positions of its sequences without padding; expressed genes if there are no sequences."""
    soma_joinid: np.ndarray | None
    """Ids of its cells, if they matter."""
    counts: Callable[[], np.ndarray] | None = None
    """Returns the molecules of each cell, to check the batch outside the timed part."""


@dataclass(frozen=True)
class Work:
    """Something to time."""

    epoch: Callable[[], Iterable[Done]]
    unit: int | None
    """Timing ends after a multiple of so many cells (one refill of a buffer); None: only with an epoch."""


def timed(work: Work, seconds: float) -> dict[str, Any]:
    """Do a work for at least some seconds, until the next multiple of its unit or the end of an epoch.

    Returns `cells`, `tokens`, `seconds`, and as `identities` the soma_joinids of the first `IDENTITIES` batches.
    """
    cells = tokens = 0
    identities: list[np.ndarray] = []
    over = False
    start = time.perf_counter()
    while not over:
        for done in work.epoch():
            cells += done.cells
            tokens += done.tokens
            if len(identities) < IDENTITIES and done.soma_joinid is not None:
                identities.append(done.soma_joinid.copy())  # the original may keep more alive
            if work.unit and cells % work.unit == 0 and time.perf_counter() - start >= seconds:
                break
        over = time.perf_counter() - start >= seconds
    return {"cells": cells, "tokens": tokens, "seconds": time.perf_counter() - start, "identities": identities}


def check_counts(work: Work, data: Path) -> None:
    """Raise ValueError if the first batch of raw counts has other molecules than its cells."""
    done = next(iter(work.epoch()))
    if done.counts is not None:
        expected = np.load(data / "raw_sum.npy")[done.soma_joinid]
        if not np.array_equal(done.counts().astype(np.float64), expected):
            raise ValueError("it delivers other counts than the cells have")


def entropy(classes: np.ndarray) -> float:
    """Return the Shannon entropy of the classes of some cells in bits."""
    _, counts = np.unique(classes, return_counts=True)
    return float(stats.entropy(counts, base=2)) + 0.0  # 0, not -0, for a single class


def mean_entropies(batches: Sequence[np.ndarray], dataset: np.ndarray) -> tuple[float, float]:
    """Return the mean entropy of some batches in bits, and the expectation for a full shuffle at their sizes.

    `batches` has the dataset of every cell of each batch, `dataset` that of every cell of the corpus; no batch gives
    NaN.
    """
    if not batches:
        return float("nan"), float("nan")
    expected = {size: full_shuffle_entropy(dataset, size) for size in {len(batch) for batch in batches}}
    pairs = [(entropy(batch), expected[len(batch)]) for batch in batches]
    return tuple(np.mean(pairs, axis=0).tolist())


def full_shuffle_entropy(dataset: np.ndarray, batch_size: int) -> float:
    """Return the expected entropy in bits of `batch_size` cells sampled from all cells without replacement.

    Each dataset's number k in a batch is hypergeometric, so the expectation is the sum over datasets and k of
    P(k) · -(k/n) log2(k/n): exact, no simulation.
    """
    _, sizes = np.unique(dataset, return_counts=True)
    k = np.arange(1, batch_size + 1)
    probability = stats.hypergeom.pmf(k[None, :], len(dataset), sizes[:, None], batch_size)
    share = k / batch_size
    return float(-(probability * (share * np.log2(share))[None, :]).sum())


def encoding(work: str, length: int) -> Encoding | None:
    """Return how a work's cells become sequences; None for raw counts."""
    if work == "raw_batches":
        return None
    if work == "mlm_batches":
        return Encoding(Input(length=length, zeros="interleave"), Masked(mask=0.95), cell_target=False)
    return Encoding(Input(length=length, dropout=0.2))


def _dense(batch: "dict[str, torch.Tensor]", n_genes: int, device: str) -> "torch.Tensor":
    """Return the flat target of a batch as cells × genes: made here, or scattered on a GPU."""
    import torch

    offsets, gene, value = (batch[f"target_{name}"] for name in ("offsets", "gene", "value"))
    if device == "cpu":
        flat = sparse.csr_matrix((value.numpy(), gene.numpy(), offsets.numpy()), shape=(len(offsets) - 1, n_genes))
        return torch.from_numpy(flat.toarray())
    offsets, gene, value = offsets.to(device), gene.to(device), value.to(device)
    row = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=device), offsets.diff())
    dense = torch.zeros(len(offsets) - 1, n_genes, device=device)
    dense[row, gene.long()] = value
    torch.cuda.synchronize()
    return dense


def _raw(batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Iterator[Done]:
    """Count batches of raw counts: offsets of the cells, counts, and ids of the cells."""
    for offsets, counts, joinids in batches:
        yield Done(len(joinids), len(counts), joinids, lambda a=counts, b=offsets: np.add.reduceat(a, b[:-1]))


def _finished(batches: "Batches", n_genes: int | None, device: str) -> Iterator[Done]:
    """Count finished batches, after adding the dense target unless `n_genes` is None."""
    for batch in batches:
        if n_genes is not None:
            batch["target"] = _dense(batch, n_genes, device)
        yield Done(len(batch["length"]), int(batch["length"].sum()), batch["soma_joinid"].numpy())


def peer(system: str, work: str, length: int, data: Path, device: str) -> Work:
    """Return a batch work of another loader: its raw counts, finished by our collator if the work needs that."""
    from speed.loaders import OPEN

    epoch, unit = OPEN[system](data, SEED)
    if work == "raw_batches":
        return Work(lambda: _raw((indptr, counts, joinids) for indptr, _, counts, joinids in epoch()), unit)

    from wced.shards.batches import to_tensors

    dataset_of_cell, how = np.load(data / "dataset.npy"), encoding(work, length)
    n_genes = json.loads((data / "data.json").read_text())["genes"]
    measured_dv, dtype = np.ones((int(dataset_of_cell.max()) + 1, n_genes), bool), id_dtype(n_genes)
    epochs = count()

    def finished() -> "Batches":
        number = next(epochs)
        for indptr, indices, counts, joinids in epoch():
            # The columns of the files are the vocabulary, so ids are only narrowed.
            cells = RaggedCells(
                offsets=indptr.astype(np.int64), gene=indices.astype(dtype), count=counts.astype(np.uint32),
                soma_joinid=joinids, dataset=dataset_of_cell[joinids], labels=np.zeros((len(joinids), 0), np.int32),
            )  # fmt: skip
            yield to_tensors(encode(cells, measured_dv, how, training=True, seed=SEED, epoch=number))

    return Work(lambda: _finished(finished(), n_genes if work.endswith("dense") else None, device), unit)


def _loader(
    work: str, length: int, shards: Path, workers: int, order: Order, inputs: dict[str, Any]
) -> "tuple[BatchLoader, int]":
    """Return our loader and the size of its vocabulary; `inputs` changes its config section `input`."""
    from wced.shards.batches import BatchDataset, BatchLoader
    from wced.shards.reader import ShardSet

    opened, how = ShardSet(shards), encoding(work, length)
    rng, genes = np.random.default_rng(SEED), len(opened.vocabulary)
    facts = InputGenes(rng.random(genes), {"mitochondrial": rng.random(genes) < 0.01})
    section = (how.input if how else Input()).model_copy(update=inputs)
    how, choice = how and replace(how, input=section), gene_choice(facts, opened.measured_dv, section)
    dataset = BatchDataset(
        opened, "train", how, batch_size=BATCH_SIZE, order=order, training=True, seed=SEED, choice=choice
    )
    return BatchLoader(dataset, workers=workers), genes


def ours(work: str, length: int, shards: Path, device: str, workers: int, order: Order, inputs: dict[str, Any]) -> Work:
    """Return a batch work of our own loader; `inputs` changes its config section `input`."""
    loader, genes = _loader(work, length, shards, workers, order, inputs)
    if work == "raw_batches":
        names = ("offsets", "count", "soma_joinid")
        return Work(lambda: _raw(tuple(batch[name].numpy() for name in names) for batch in loader), None)
    return Work(lambda: _finished(loader, genes if work.endswith("dense") else None, device), None)


def copy_floor(work: str, length: int, shards: Path) -> Work:
    """Return the copying of as many bytes as our batches have, between buffers of four times the last-level cache."""
    loader, genes = _loader(work, length, shards, 0, Order(), {})
    n_bytes = cells = tokens = 0
    for batch in islice(loader, 64):
        if work.endswith("dense"):
            batch["target"] = _dense(batch, genes, "cpu")
        n_bytes += sum(tensor.nbytes for tensor in batch.values())
        cells += len(batch["soma_joinid"])
        tokens += len(batch["gene"]) if work == "raw_batches" else int(batch["length"].sum())
    n_bytes, tokens = round(n_bytes / cells * BATCH_SIZE), round(tokens / cells * BATCH_SIZE)
    size = max(4 * last_level_cache(), 4 * n_bytes, 256 * 2**20)
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)

    def epoch() -> Iterator[Done]:
        for start in range(0, size - n_bytes + 1, n_bytes):
            np.copyto(target[start : start + n_bytes], source[start : start + n_bytes])
            yield Done(BATCH_SIZE, tokens, None)

    return Work(epoch, None)


def write_ours(data: Path) -> Work:
    """Return the writing of all cells to shards; one epoch writes each shard once."""
    import pandas as pd

    from speed.generate import ORGANISM, SHARDS, open_collection, write_shards
    from wced.shards.vocabulary import Labels, Vocabulary, read_measured
    from wced.shards.write import inputs_sha256

    shards, cells = data / "shards", pd.read_parquet(data / "cells.parquet")
    vocabulary, labels = Vocabulary.read(shards / "vocabulary.tsv"), Labels.read(shards / "labels.json")
    dataset_ids, _ = read_measured(shards / "measured.arrow")
    collection = open_collection(data / "census")
    inputs = inputs_sha256(data / "cells.parquet", shards / "vocabulary.tsv")

    def epoch() -> Iterator[Done]:
        with tempfile.TemporaryDirectory(dir=data.parent, prefix=".shards.") as folder:
            paths = [Path(folder) / f"shard-{i}.arrow" for i in range(SHARDS)]
            experiment = collection["census_data"][ORGANISM]
            write_shards(experiment, cells, vocabulary, labels, dataset_ids, paths, inputs)
        yield Done(len(cells), int(cells["nnz"].sum()), None)

    return Work(epoch, None)


def read_soma(data: Path) -> Work:
    """Return the bare reading of X, range by range, as Arrow tables."""
    import pandas as pd

    from speed.generate import ORGANISM, SHARDS, open_collection
    from wced.config.corpus import Shards
    from wced.shards.counts import batch_bounds
    from wced.shards.write import shard_bounds

    nonzeros = pd.read_parquet(data / "cells.parquet", columns=["nnz"])["nnz"].to_numpy()
    collection = open_collection(data / "census")
    ranges = [
        slice(int(first + start), int(first + stop) - 1)
        for first, last in pairwise(shard_bounds(nonzeros, SHARDS))
        for start, stop in pairwise(batch_bounds(nonzeros[first:last], Shards().batch_cells))
    ]

    def epoch() -> Iterator[Done]:
        x = collection["census_data"][ORGANISM].ms["RNA"].X["raw"]
        for rows in ranges:
            read = sum(len(table) for table in x.read(coords=(rows, slice(None))).tables())
            yield Done(rows.stop - rows.start + 1, read, None)

    return Work(epoch, None)


def write_annbatch(data: Path) -> Work:
    """Return the writing of annbatch's store."""
    from speed import loaders

    nonzeros = np.load(data / "nnz.npy")

    def epoch() -> Iterator[Done]:
        with tempfile.TemporaryDirectory(dir=data.parent, prefix=".annbatch.") as folder:
            loaders.write_annbatch(data, Path(folder), SEED)
        yield Done(len(nonzeros), int(nonzeros.sum()), None)

    return Work(epoch, None)


def open_work(job: dict[str, Any]) -> Work:
    """Return the work of a job: system, work, length, data, device and workers."""
    system, work, length, data, device = job["system"], job["work"], job["length"], Path(job["data"]), job["device"]
    if work == "write_shards":
        return {"ours": write_ours, "tiledbsoma": read_soma, "annbatch": write_annbatch}[system](data)
    if system == "copy_floor":
        return copy_floor(work, length, data / "shards")
    if system.startswith("ours"):
        shards = data / ("shards_4x" if system == "ours_4x_cells" else "shards")
        return ours(work, length, shards, device, job["workers"], ORDERS.get(system, Order()), INPUTS.get(system, {}))
    return peer(system, work, length, data, device)

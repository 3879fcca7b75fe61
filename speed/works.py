"""The works of the systems, in one form: an iterator of what each batch held, that can be timed."""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from speed.machine import last_level_cache
from speed.systems import BATCH_SIZE, INPUTS, ORDERS
from wced.config.pretraining import Input, Masked, Order
from wced.shards.cells import RaggedCells, id_dtype
from wced.shards.encode import Encoding, encode
from wced.shards.input_genes import InputGenes, gene_choice

if TYPE_CHECKING:
    import torch

SEED = 0


class Done(NamedTuple):
    """What one batch held."""

    cells: int
    tokens: int
    """Positions of its sequences, padding left out; expressed genes where there are no sequences."""
    soma_joinid: np.ndarray | None
    """Identity of its cells, where they matter."""
    counts: Callable[[], np.ndarray] | None = None
    """Molecules of each cell as delivered: what the batch is checked by, outside the timed part."""


@dataclass(frozen=True)
class Work:
    """Something to time."""

    epoch: Callable[[], Iterator[Done]]
    unit: int | None
    """Timing ends after a multiple of so many cells (what one refill of a buffer delivers), or only with an epoch."""


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


def _finished(batches: "Iterator[dict[str, torch.Tensor]]", n_genes: int | None, device: str) -> Iterator[Done]:
    """Count finished batches; where `n_genes` is given, each gets the dense form of its target."""
    for batch in batches:
        if n_genes is not None:
            batch["target"] = _dense(batch, n_genes, device)
        yield Done(len(batch["length"]), int(batch["length"].sum()), batch["soma_joinid"].numpy())


def peer(system: str, work: str, length: int, data: Path, device: str) -> Work:
    """Return a batch work of another loader: its raw counts, finished by our collator where the work asks for that."""
    from speed.loaders import OPEN

    epoch, unit = OPEN[system](data, SEED)
    if work == "raw_batches":

        def raw() -> Iterator[Done]:
            for indptr, _, counts, joinids in epoch():
                yield Done(len(joinids), len(counts), joinids, lambda a=counts, b=indptr: np.add.reduceat(a, b[:-1]))

        return Work(raw, unit)

    from wced.shards.batches import to_tensors

    dataset_of_cell, how = np.load(data / "dataset.npy"), encoding(work, length)
    n_genes = json.loads((data / "data.json").read_text())["genes"]
    measured_dv, dtype = np.ones((int(dataset_of_cell.max()) + 1, n_genes), bool), id_dtype(n_genes)
    epochs = iter(range(2**31))

    def finished() -> "Iterator[dict[str, torch.Tensor]]":
        number = next(epochs)
        for indptr, indices, counts, joinids in epoch():
            # The columns of the files are the vocabulary, so nothing is looked up, only narrowed.
            cells = RaggedCells(
                offsets=indptr.astype(np.int64), gene=indices.astype(dtype), count=counts.astype(np.uint32),
                soma_joinid=joinids, dataset=dataset_of_cell[joinids], labels=np.zeros((len(joinids), 0), np.int32),
            )  # fmt: skip
            yield to_tensors(encode(cells, measured_dv, how, training=True, seed=SEED, epoch=number))

    return Work(lambda: _finished(finished(), n_genes if work.endswith("dense") else None, device), unit)


def ours(work: str, length: int, shards: Path, device: str, workers: int, order: Order, inputs: dict[str, Any]) -> Work:
    """Return a batch work of our own loader; `inputs` changes its config section `input`."""
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
    loader = BatchLoader(dataset, workers=workers)
    if work == "raw_batches":

        def raw() -> Iterator[Done]:
            for batch in loader:
                count, offsets = batch["count"].numpy(), batch["offsets"].numpy()
                yield Done(
                    len(offsets) - 1, len(count), batch["soma_joinid"].numpy(),
                    lambda a=count, b=offsets: np.add.reduceat(a, b[:-1]),
                )  # fmt: skip

        return Work(raw, None)
    n_genes = len(opened.vocabulary) if work.endswith("dense") else None
    return Work(lambda: _finished(iter(loader), n_genes, device), None)


def copy_floor(work: str, length: int, shards: Path, device: str) -> Work:
    """Return the copying of as many bytes as our batches have, between buffers of four times the last-level cache."""
    from wced.shards.batches import BatchDataset, BatchLoader
    from wced.shards.reader import ShardSet

    opened = ShardSet(shards)
    dataset = BatchDataset(
        opened, "train", encoding(work, length), batch_size=BATCH_SIZE, order=Order(), training=True, seed=SEED
    )
    n_bytes = cells = tokens = 0
    for batch in islice(BatchLoader(dataset), 64):
        if work.endswith("dense"):
            batch["target"] = _dense(batch, len(opened.vocabulary), "cpu")
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
    collection = open_collection(data / "census")  # it closes what it holds when it is forgotten
    bounds = shard_bounds(nonzeros, SHARDS)
    ranges = [
        slice(int(first + start), int(first + stop) - 1)
        for first, last in pairwise(bounds)
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

    cells = len(np.load(data / "dataset.npy"))
    tokens = int(np.load(data / "nnz.npy").sum())

    def epoch() -> Iterator[Done]:
        with tempfile.TemporaryDirectory(dir=data.parent, prefix=".annbatch.") as folder:
            loaders.write_annbatch(data, Path(folder), SEED)
        yield Done(cells, tokens, None)

    return Work(epoch, None)


def open_work(job: dict[str, Any]) -> Work:
    """Return the work of a job: system, work, length, data, device and workers."""
    system, work, data = job["system"], job["work"], Path(job["data"])
    if work == "write_shards":
        return {"ours": write_ours, "tiledbsoma": read_soma, "annbatch": write_annbatch}[system](data)
    arguments = (work, job["length"])
    if system == "copy_floor":
        return copy_floor(*arguments, data / "shards", job["device"])
    if system.startswith("ours"):
        shards = data / ("shards_4x" if system == "ours_4x_cells" else "shards")
        return ours(
            *arguments, shards, job["device"], job["workers"], ORDERS.get(system, Order()), INPUTS.get(system, {})
        )
    return peer(system, *arguments, data, job["device"])

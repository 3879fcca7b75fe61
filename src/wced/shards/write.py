"""Write shards from a SOMA collection, each by its own job, and the index that opens them all."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from wced.config import corpus as config
from wced.errors import WcedError
from wced.files import existing, sha256, whole_file
from wced.progress import progress
from wced.shards import FORMAT_VERSION
from wced.shards.cells import id_dtype
from wced.shards.counts import CountReader, Counts
from wced.shards.reader import check_origin, shard_metadata
from wced.shards.vocabulary import SPLITS, Labels, Vocabulary, fact_types, facts_of

if TYPE_CHECKING:
    import tiledbsoma

VOCABULARY_FILES = ("vocabulary.tsv", "labels.json", "measured.arrow")
"""Files beside the shards that give their codes a meaning."""

BATCH_SHA256 = "wced.sha256"
"""Key of a record batch's own metadata."""


def shard_bounds(nonzeros: np.ndarray, count: int) -> np.ndarray:
    """Return the bounds of `count` contiguous runs of cells with about equally many non-zeros.

    `nonzeros` is int64, (cells,): expressed genes of each cell, in the order of soma_joinid. Shard i holds the cells
    bounds[i] to bounds[i + 1]; with fewer cells than shards some are empty. Shape (count + 1,), int64.
    """
    cumulative = np.concatenate([[0], np.cumsum(nonzeros, dtype=np.int64)])
    targets = cumulative[-1] * np.arange(1, count) / count
    inner = np.searchsorted(cumulative, targets, side="left")
    return np.concatenate([[0], inner, [len(nonzeros)]]).astype(np.int64)


def inputs_sha256(cells: str | Path, vocabulary: str | Path) -> str:
    """Return one hash of everything that decides what shards hold, besides X.

    It is the SHA-256 of the SHA-256s (hexadecimal, joined by newlines) of cells.parquet and of `VOCABULARY_FILES`,
    which stand beside `vocabulary`.
    """
    beside = [Path(vocabulary).parent / name for name in VOCABULARY_FILES[1:]]
    files = [(cells, "cells.parquet"), (vocabulary, "a vocabulary"), *((path, path.name) for path in beside)]
    return hashlib.sha256("\n".join(sha256(existing(path, what)) for path, what in files).encode()).hexdigest()


def shard_schema(
    vocabulary: Vocabulary, labels: Labels, *, number: int = 0, count: int = 1, inputs: str = ""
) -> pa.Schema:
    """Return the Arrow schema of a shard; its metadata has the format, the vocabulary, the shard and its inputs."""
    types = {
        "soma_joinid": pa.int64(),
        "gene": pa.list_(pa.from_numpy_dtype(id_dtype(len(vocabulary)))),
        "count": pa.list_(pa.uint32()),
        "total_counts": pa.int64(),
        "vocabulary_counts": pa.int64(),
        **{name: pa.from_numpy_dtype(dtype) for name, dtype in fact_types(labels).items()},
    }
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in types.items()],
        metadata={
            "wced.format_version": str(FORMAT_VERSION),
            "wced.vocabulary_sha256": vocabulary.sha256,
            "wced.inputs_sha256": inputs,
            "wced.shard": str(number),
            "wced.shards": str(count),
        },
    )


def _record_batch(facts: dict[str, np.ndarray], counts: Counts, schema: pa.Schema) -> pa.RecordBatch:
    offsets = pa.array(counts.offsets.astype(np.int32))
    lists = {name: pa.ListArray.from_arrays(offsets, pa.array(getattr(counts, name))) for name in ("gene", "count")}
    totals = {"total_counts": counts.total, "vocabulary_counts": counts.inside}
    return pa.record_batch(facts | lists | totals, schema=schema)


def batch_sha256(batch: pa.RecordBatch) -> str:
    """Return the SHA-256 of a record batch's values, column by column; of a list the offsets, then the values."""
    digest = hashlib.sha256()
    for column in batch.columns:
        for part in [column.offsets, column.values] if pa.types.is_list(column.type) else [column]:
            digest.update(part.to_numpy())
    return digest.hexdigest()


def write_shard(
    path: str | Path,
    experiment: "tiledbsoma.Experiment",
    cells: pd.DataFrame,
    vocabulary: Vocabulary,
    labels: Labels,
    dataset_ids: Sequence[str],
    *,
    batch_cells: int,
    number: int = 0,
    count: int = 1,
    inputs: str = "",
    section: config.Census | None = None,
) -> None:
    """Write one shard whole: its cells in the order of soma_joinid, read from X in bounded memory.

    `cells` are the shard's rows of cells.parquet, `dataset_ids` the datasets in the order of their codes. A record
    batch has at most `batch_cells` cells, up to 65,536, as list offsets are 32-bit. This is shard `number`, from 0, of
    `count`; `inputs` is what `inputs_sha256` returns for the files of `cells`, `vocabulary` and `labels`; `section`
    says how often a read is tried. Raises WcedError if a cell has a dataset that `dataset_ids` lacks, a column of
    `labels` is missing, a count is invalid, or X cannot be read.
    """
    foreign = set(cells["dataset_id"].astype(str)) - set(dataset_ids)
    if foreign:
        raise WcedError(f"{path}: dataset {min(foreign)} is not among the measured datasets")
    reader = CountReader(experiment, vocabulary, section)
    schema = shard_schema(vocabulary, labels, number=number, count=count, inputs=inputs)
    with whole_file(path) as temporary, pa.ipc.new_file(temporary, schema) as writer:
        for rows, counts in reader.batches(cells, batch_cells, f"shard {number}"):
            batch = _record_batch(facts_of(rows, labels, dataset_ids), counts, schema)
            writer.write_batch(batch, custom_metadata={BATCH_SHA256: batch_sha256(batch)})


def write_index(path: str | Path, shards: Sequence[str | Path], cells: str | Path, vocabulary: str | Path) -> None:
    """Check all shards and write `index.json`: row counts, non-zeros, splits and checksum of each, in their order.

    Every byte of the shards is read, one record batch at a time. Raises WcedError if a shard is missing, truncated or
    damaged, has another format version, was not made from `cells` and `vocabulary`, or is not the one expected at its
    position.
    """
    genes, labels = Vocabulary.read(vocabulary), Labels.read(Path(vocabulary).with_name("labels.json"))
    inputs, rows = inputs_sha256(cells, vocabulary), []
    for number, shard in enumerate(progress(list(map(Path, shards)), "checking shards", unit="shards")):
        expected = shard_schema(genes, labels, number=number, count=len(shards), inputs=inputs)
        with pa.memory_map(str(existing(shard, "a shard"))) as source:
            try:
                rows.append(_index_row(shard, source, expected))
            except (pa.ArrowException, OSError) as failure:
                raise WcedError(f"{shard}: not a whole Arrow file ({failure}); make the shard again") from None
    record = {
        "format_version": FORMAT_VERSION,
        "vocabulary_size": len(genes),
        "vocabulary_sha256": genes.sha256,
        "inputs_sha256": inputs,
        "files": {name: sha256(Path(vocabulary).with_name(name)) for name in VOCABULARY_FILES},
        "label_columns": labels.columns,
        "number_columns": labels.number_columns,
        "perturbed_column": None if labels.perturbations is None else labels.perturbations.column,
        "cells": sum(row["cells"] for row in rows),
        "shards": rows,
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def _index_row(shard: Path, source: pa.NativeFile, expected: pa.Schema) -> dict[str, Any]:
    """Return a shard's row of the index; raise WcedError if its schema is not the one expected, or it is damaged."""
    reader = pa.ipc.open_file(source)
    due = shard_metadata(expected)
    metadata = check_origin(shard, reader.schema, due)
    number, of = metadata.get("shard"), metadata.get("shards")
    if (number, of) != (due["shard"], due["shards"]):
        raise WcedError(f"{shard}: is shard {number} of {of}; expected shard {due['shard']} of {due['shards']}")
    if not reader.schema.equals(expected):
        raise WcedError(f"{shard}: does not have the columns of a shard; make the shard again")
    cells, nonzeros, splits = [], 0, np.zeros(len(SPLITS), np.int64)
    for i in range(reader.num_record_batches):
        batch, own = reader.get_batch_with_custom_metadata(i)
        batch.validate(full=True)  # a damaged length must not lead beyond the file
        if batch_sha256(batch) != (own or {}).get(BATCH_SHA256.encode(), b"").decode(errors="replace"):
            raise WcedError(f"{shard}: record batch {i} is damaged: its checksum differs; make the shard again")
        cells.append(batch.num_rows)
        nonzeros += len(batch["gene"].values)
        splits += np.bincount(batch["split"].to_numpy(), minlength=len(SPLITS))
    return {
        "file": shard.name,
        "cells": sum(cells),
        "batches": cells,
        "nonzeros": nonzeros,
        **{name: int(n) for name, n in zip(SPLITS, splits, strict=True)},
        "bytes": shard.stat().st_size,
        "sha256": sha256(shard),
    }

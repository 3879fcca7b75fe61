"""Write shards from a SOMA collection, each by its own job, and the index that opens them all."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from wced.errors import WcedError
from wced.files import existing, sha256, whole_file
from wced.shards import FORMAT_VERSION
from wced.shards.cells import id_dtype
from wced.shards.vocabulary import LABEL_COLUMNS, Labels, Vocabulary, label_values

if TYPE_CHECKING:
    import tiledbsoma

SPLITS = ("train", "validation")
"""Splits in the order of their codes."""

READ_CELLS = 4096
"""Cells read from X at once: bounds memory at about 100 MB for 3,000 expressed genes a cell."""


def shard_bounds(nonzeros: np.ndarray, count: int) -> np.ndarray:
    """Return where `count` contiguous runs of cells begin and end so that their non-zeros are balanced.

    Parameters
    ----------
    nonzeros
        int64, (cells,): expressed genes of each cell, in the order of soma_joinid.
    count
        Number of shards.

    Returns
    -------
    numpy.ndarray
        int64, (count + 1,), non-decreasing from 0 to the number of cells; shard i holds cells
        bounds[i] to bounds[i + 1]. With fewer cells than shards some are empty.
    """
    cumulative = np.concatenate([[0], np.cumsum(nonzeros, dtype=np.int64)])
    targets = cumulative[-1] * np.arange(1, count) / count
    inner = np.searchsorted(cumulative, targets, side="left")
    return np.concatenate([[0], inner, [len(nonzeros)]]).astype(np.int64)


def shard_schema(vocabulary: Vocabulary) -> pa.Schema:
    """Return the Arrow schema of a shard; its metadata names the format and the vocabulary."""
    return pa.schema(
        [
            pa.field("soma_joinid", pa.int64(), nullable=False),
            pa.field("gene", pa.list_(pa.from_numpy_dtype(id_dtype(len(vocabulary)))), nullable=False),
            pa.field("count", pa.list_(pa.uint32()), nullable=False),
            pa.field("total_counts", pa.int64(), nullable=False),
            pa.field("vocabulary_counts", pa.int64(), nullable=False),
            pa.field("split", pa.int8(), nullable=False),
            pa.field("dataset", pa.int32(), nullable=False),
            *[pa.field(column, pa.int32(), nullable=False) for column in LABEL_COLUMNS],
        ],
        metadata={"wced.format_version": str(FORMAT_VERSION), "wced.vocabulary_sha256": vocabulary.sha256},
    )


def read_counts(
    experiment: "tiledbsoma.Experiment", soma_joinids: np.ndarray, vocabulary_id_of_var: np.ndarray, n_genes: int
) -> sparse.csr_matrix:
    """Read raw counts of some cells from the layer `raw`, reduced to the vocabulary.

    Parameters
    ----------
    experiment
        An organism of a Census.
    soma_joinids
        int64, (n,), ascending.
    vocabulary_id_of_var
        int32, indexed by the soma_joinid of var: vocabulary id or -1.
    n_genes
        Size of the vocabulary.

    Returns
    -------
    scipy.sparse.csr_matrix
        n × n_genes, indices sorted, no stored zeros.
    """
    table = experiment.ms["RNA"].X["raw"].read(coords=(soma_joinids, slice(None))).tables().concat()
    gene = vocabulary_id_of_var[table["soma_dim_1"].to_numpy()]
    inside = gene >= 0
    row = np.searchsorted(soma_joinids, table["soma_dim_0"].to_numpy()[inside])
    data = table["soma_data"].to_numpy()[inside]
    counts = sparse.csr_matrix((data, (row, gene[inside])), shape=(len(soma_joinids), n_genes))
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts


def _record_batch(
    cells: pd.DataFrame, counts: sparse.csr_matrix, schema: pa.Schema, labels: Labels, dataset_ids: Sequence[str]
) -> pa.RecordBatch:
    offsets = pa.array(counts.indptr.astype(np.int32))
    gene_type, count_type = schema.field("gene").type.value_type, schema.field("count").type.value_type
    columns = {
        "soma_joinid": cells["soma_joinid"].to_numpy(),
        "gene": pa.ListArray.from_arrays(offsets, pa.array(counts.indices, gene_type)),
        "count": pa.ListArray.from_arrays(offsets, pa.array(counts.data.astype(np.int64), count_type)),
        "total_counts": cells["raw_sum"].to_numpy().round().astype(np.int64),
        "vocabulary_counts": np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel().round().astype(np.int64),
        "split": pd.Index(SPLITS).get_indexer(cells["split"]).astype(np.int8),
        "dataset": pd.Index(dataset_ids).get_indexer(cells["dataset_id"].astype(str)).astype(np.int32),
        **{column: labels.codes(column, label_values(cells, column)) for column in LABEL_COLUMNS},
    }
    return pa.record_batch([pa.array(columns[name]) for name in schema.names], schema=schema)


def write_shard(
    path: str | Path,
    experiment: "tiledbsoma.Experiment",
    cells: pd.DataFrame,
    vocabulary: Vocabulary,
    labels: Labels,
    dataset_ids: Sequence[str],
    *,
    batch_cells: int,
) -> None:
    """Write one shard whole: its cells in the order of soma_joinid, read from X in bounded memory.

    Parameters
    ----------
    path
        File to write.
    experiment
        An organism of a Census.
    cells
        The shard's rows of cells.parquet.
    vocabulary, labels
        Genes and classes of the run.
    dataset_ids
        Datasets in the order of their codes.
    batch_cells
        Largest number of cells of a record batch; list offsets are 32-bit, so at most 65,536.

    Raises
    ------
    WcedError
        If a cell has a dataset that `dataset_ids` lacks.
    """
    foreign = set(cells["dataset_id"].astype(str)) - set(dataset_ids)
    if foreign:
        raise WcedError(f"{path}: dataset {min(foreign)} is not among the measured datasets")
    var = experiment.ms["RNA"].var.read(column_names=["soma_joinid", "feature_id"]).concat().to_pandas()
    lookup = np.full(int(var["soma_joinid"].max()) + 1, -1, np.int32)
    lookup[var["soma_joinid"]] = vocabulary.ids_of(var["feature_id"])
    schema = shard_schema(vocabulary)
    read_cells = min(READ_CELLS, batch_cells)
    with whole_file(path) as temporary, pa.ipc.new_file(temporary, schema) as writer:
        for start in range(0, len(cells), batch_cells):
            batch = cells.iloc[start : start + batch_cells]
            chunks = [
                read_counts(experiment, batch["soma_joinid"].to_numpy()[at : at + read_cells], lookup, len(vocabulary))
                for at in range(0, len(batch), read_cells)
            ]
            counts = sparse.vstack(chunks, format="csr")
            writer.write_batch(_record_batch(batch, counts, schema, labels, dataset_ids))


def write_index(path: str | Path, shards: Sequence[str | Path], vocabulary: Vocabulary) -> None:
    """Write `index.json`: every shard with its row count, non-zeros, splits and checksum."""
    rows = []
    for shard in map(Path, shards):
        with pa.memory_map(str(existing(shard, "a shard"))) as source:
            try:
                table = pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid as failure:
                raise WcedError(f"{shard}: not a whole Arrow file ({failure}); make the shard again") from None
            found = (table.schema.metadata or {}).get(b"wced.vocabulary_sha256", b"").decode()
            if found != vocabulary.sha256:
                raise WcedError(f"{shard}: written for another vocabulary ({found[:12]}, not {vocabulary.sha256[:12]})")
            split = table["split"].to_numpy()
            rows.append(
                {
                    "file": shard.name,
                    "cells": table.num_rows,
                    "nonzeros": sum(len(chunk.flatten()) for chunk in table["gene"].chunks),
                    **{name: int((split == code).sum()) for code, name in enumerate(SPLITS)},
                    "sha256": sha256(shard),
                }
            )
    record = {
        "format_version": FORMAT_VERSION,
        "vocabulary_size": len(vocabulary),
        "vocabulary_sha256": vocabulary.sha256,
        "label_columns": LABEL_COLUMNS,
        "cells": sum(row["cells"] for row in rows),
        "shards": rows,
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")

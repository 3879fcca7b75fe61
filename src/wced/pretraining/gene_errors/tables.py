"""Gene errors of a validation epoch as tables."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from wced.files import whole_file
from wced.pretraining.gene_errors import ErrorSums
from wced.pretraining.gene_statistics import PARTS, Blocks, ValueSums
from wced.shards.vocabulary import Vocabulary


def gene_table(
    checkpoint: str, decoder: str, epoch: int, vocabulary: Vocabulary, errors: ErrorSums, values: ValueSums,
    zero_fraction_g: np.ndarray,
) -> pd.DataFrame:  # fmt: skip
    """Return the rows of `tables.GENE_ERRORS` of an epoch (from 1), for genes that were predicted at least once.

    `values` are those that the model was scored on: with masked positions these are a sample, in which strongly
    expressed cells may be over-represented, so that a null of all cells would be unfair. ValueError is raised if their
    number is not that of the errors. `zero_fraction_g` is of all validation cells, where the gene was measured.
    """
    if not (np.array_equal(errors.n_g, values.n_g) and np.array_equal(errors.n_nonzero_g, values.n_nonzero_g)):
        raise ValueError(
            f"{errors.n_g.sum()} predictions, {errors.n_nonzero_g.sum()} of expressed genes, were scored on "
            f"{values.n_g.sum()} values, {values.n_nonzero_g.sum()} of expressed genes"
        )
    columns = {
        "checkpoint": checkpoint, "decoder": decoder, "epoch": epoch, "gene_id": vocabulary.gene_ids,
        "gene_symbol": vocabulary.symbols, "n": errors.n_g, "n_nonzero": errors.n_nonzero_g,
        "zero_fraction": zero_fraction_g, "mean_nonzero": values.mean_g, "detection_auc": errors.auc_g,
        "nonzero_mae": errors.nonzero_mae_g, "nonzero_mae_ungated": errors.nonzero_mae_ungated_g,
        "null_mae": values.null_mae_g,
    }  # fmt: skip
    frame = pd.DataFrame(columns)
    frame["rescaled_mae"] = frame["nonzero_mae"] / frame["mean_nonzero"]
    frame["rescaled_null_mae"] = frame["null_mae"] / frame["mean_nonzero"]
    return frame[frame["n"] > 0].reset_index(drop=True)


def write_sums(
    path: str | Path, checkpoint: str, decoder: str, epoch: int, vocabulary: Vocabulary, blocks: Blocks,
    errors: ErrorSums, values: ValueSums,
) -> None:  # fmt: skip
    """Write the rows of `tables.GENE_ERROR_SUMS` of an epoch: every block × gene with a prediction (Parquet).

    There may be millions of them, so names are dictionary-encoded, and never repeated as text.
    """
    row = np.flatnonzero(values.n_bg)
    block, gene = np.divmod(row, len(vocabulary))
    n_nonzero, total, squares, deviation = values.nonzero_bgs.reshape(-1, 4)[row].T
    gated, ungated = errors.errors_bgs.reshape(-1, 2)[row].T
    columns = {
        "checkpoint": _repeated(checkpoint, len(row)),
        "decoder": _repeated(decoder, len(row)),
        "epoch": np.full(len(row), epoch, np.int32),
        "dataset": pa.DictionaryArray.from_arrays((block // PARTS).astype(np.int8), list(blocks.names)),
        "part": (block % PARTS).astype(np.int8),
        "gene_id": pa.DictionaryArray.from_arrays(gene.astype(np.int32), list(vocabulary.gene_ids)),
        "n": values.n_bg.ravel()[row].astype(np.int32),
        "n_nonzero": n_nonzero.astype(np.int32),
    }
    sums = {
        "sum_abs_error": gated,
        "sum_abs_error_ungated": ungated,
        "sum_abs_error_null": deviation,
        "sum_prediction": errors.expected_bg.ravel()[row],
        "sum_value": total,
        "sum_squared_value": squares,
    }
    encoding = {"use_dictionary": list(columns), "column_encoding": dict.fromkeys(sums, "BYTE_STREAM_SPLIT")}
    with whole_file(path) as temporary:
        parquet.write_table(pa.table(columns | sums), temporary, **encoding, compression="zstd", compression_level=1)


def joined(path: str | Path, parts: Sequence[Path]) -> None:
    """Write Parquet files with the same columns as one, a part at a time; names may be dictionary-encoded."""
    with whole_file(path) as temporary:
        schema = parquet.read_schema(parts[0])
        with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for part in parts:
                writer.write_table(parquet.read_table(part).cast(schema))


def adopted(path: str | Path, checkpoint: str, part: Callable[[str, int], Path]) -> None:
    """Write the rows of each decoder and epoch of a file, as those of another checkpoint, to the file `part` names."""
    for decoder, epoch in parquet.read_table(path, columns=["decoder", "epoch"]).to_pandas().drop_duplicates().values:
        table = parquet.read_table(path, filters=[("decoder", "==", decoder), ("epoch", "==", epoch)])
        at = table.schema.get_field_index("checkpoint")
        name = _repeated(checkpoint, len(table)).cast(table.schema.types[at])
        with whole_file(part(decoder, epoch)) as temporary:
            parquet.write_table(table.set_column(at, "checkpoint", name), temporary)


def _repeated(name: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), [name])

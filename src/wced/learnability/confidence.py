"""How far results would differ on other cells: validation blocks are drawn with replacement, and errors recomputed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from wced.config.learnability import Learnability
from wced.errors import WcedError
from wced.learnability.trend import Axis, fit
from wced.progress import progress
from wced.tables import GENE_ERROR_SUMS, open_parquet

_SUMS = ("n_nonzero", "sum_abs_error", "sum_abs_error_null", "sum_value")


@dataclass(frozen=True)
class Sums:
    """Additive sums of the errors of genes in validation blocks (tables.GENE_ERROR_SUMS); float64, (blocks, genes)."""

    n_nonzero_bg: np.ndarray
    """Values where the gene is expressed."""
    error_bg: np.ndarray
    """Absolute errors there."""
    null_bg: np.ndarray
    """Absolute errors of the null there."""
    value_bg: np.ndarray
    """Values."""


@dataclass(frozen=True)
class Draws:
    """Errors and calls of every draw of the blocks."""

    blocks: int
    """Blocks that were drawn from."""
    error_rg: np.ndarray
    """Rescaled MAE, (draws, genes); NaN where a draw has no value of the gene."""
    improvement_rg: np.ndarray
    """1 - MAE / the null's MAE."""
    winner_rg: np.ndarray
    """bool."""
    loser_rg: np.ndarray
    """bool."""
    explained_r: np.ndarray
    """Share of the variance that sparsity explains."""


def read_sums(path: str | Path, decoder: str, epoch: int, gene_ids: pd.Index) -> Sums:
    """Read the sums of one decoder and epoch, a row group at a time.

    Parameters
    ----------
    path
        Parquet file of tables.GENE_ERROR_SUMS of one checkpoint.
    decoder, epoch
        Rows to read.
    gene_ids
        Genes to read, in the order of the result.

    Raises
    ------
    WcedError
        If the file is not such a table, or lacks the epoch.
    """
    file = open_parquet(path, "sums of gene errors")
    columns = ["decoder", "epoch", "dataset", "part", "gene_id", *_SUMS]
    for missing in (name for name in columns if name not in file.schema_arrow.names):
        raise WcedError(f"{path}: column {missing} of {GENE_ERROR_SUMS.name} is missing")
    blocks: dict[tuple[str, int], int] = {}
    sums = {name: np.zeros((0, len(gene_ids))) for name in _SUMS}
    at_epoch = file.schema_arrow.names.index("epoch")
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(at_epoch).statistics
        if statistics is not None and not statistics.min <= epoch <= statistics.max:
            continue
        rows = file.read_row_group(group, columns=columns)
        rows = rows.filter(pc.and_(pc.equal(rows["epoch"], epoch), pc.equal(_text(rows["decoder"]), decoder)))
        if len(rows) == 0:
            continue
        gene, ids = _codes(rows["gene_id"])
        dataset, names = _codes(rows["dataset"])
        part = rows["part"].to_numpy().astype(np.int64)
        pairs, which = np.unique(dataset * 256 + part, return_inverse=True)
        for pair in pairs:
            blocks.setdefault((names[pair // 256], int(pair % 256)), len(blocks))
        place = np.array([blocks[names[pair // 256], int(pair % 256)] for pair in pairs])[which]
        column = gene_ids.get_indexer(ids)[gene]
        wanted = column >= 0
        for name in _SUMS:
            grown = np.zeros((len(blocks), len(gene_ids)))
            grown[: len(sums[name])] = sums[name]
            # A block and gene has one row only, so nothing is added twice to one place.
            grown[place[wanted], column[wanted]] += rows[name].to_numpy()[wanted]
            sums[name] = grown
    if not blocks:
        raise WcedError(f"{path}: no rows of decoder {decoder} and epoch {epoch}")
    return Sums(*sums.values())


def draw(sums: Sums, axis: Axis, section: Learnability, seed: int) -> Draws:
    """Draw the blocks with replacement, as many as there are, and fit every draw anew.

    The genes, and their places on the axis of sparsity, stay those of all cells: the question is how sure the errors
    are, not which genes are expressed. The null predicts the mean of all cells in every draw.

    Parameters
    ----------
    sums
        Of the genes of the axis.
    axis
        Zero fractions.
    section
        Number of draws; what a winner is.
    seed
        Seed of the draws.
    """
    n_blocks = len(sums.error_bg)
    rng = np.random.default_rng(seed)
    weight_rb = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=section.bootstraps).astype(np.float64)
    error_rg, null_rg, value_rg = (weight_rb @ part for part in (sums.error_bg, sums.null_bg, sums.value_bg))
    with np.errstate(invalid="ignore", divide="ignore"):
        # Both MAE and mean non-zero value are sums over the same values, so their number cancels out.
        rescaled_rg = np.where(value_rg > 0, error_rg / value_rg, np.nan)
        improvement_rg = np.where(null_rg > 0, 1 - error_rg / null_rg, np.nan)
    fits = [fit(axis, rescaled_g, section) for rescaled_g in progress(rescaled_rg, "draws of blocks", unit="draws")]
    return Draws(
        blocks=n_blocks,
        error_rg=rescaled_rg,
        improvement_rg=improvement_rg,
        winner_rg=np.array([each.winner_g for each in fits]),
        loser_rg=np.array([each.loser_g for each in fits]),
        explained_r=np.array([each.explained for each in fits]),
    )


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each value among the distinct ones, and these; names stand in dictionaries or as text."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    return array.indices.to_numpy().astype(np.int64), np.array(array.dictionary.to_pylist(), dtype=object)

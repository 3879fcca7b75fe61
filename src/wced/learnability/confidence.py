"""How far results would differ on other cells: validation blocks are resampled, and errors computed anew."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from wced.config.learnability import Learnability
from wced.errors import WcedError
from wced.learnability.trend import Axis, fit
from wced.progress import progress
from wced.tables import GENE_ERROR_SUMS, open_parquet

_SUMS = ("n_nonzero", "sum_abs_error", "sum_abs_error_null", "sum_value")


@dataclass(frozen=True)
class Bootstraps:
    """Errors and calls in every sample of the blocks; there are no samples where there are too few blocks."""

    error_rg: np.ndarray
    """Rescaled MAE, (samples, genes); NaN where a sample has no value of the gene."""
    improvement_rg: np.ndarray
    """1 - MAE / the null's MAE."""
    winner_rg: np.ndarray
    """bool."""
    loser_rg: np.ndarray
    """bool."""
    explained_r: np.ndarray
    """Share of the variance that sparsity explains."""


def read_sums(path: str | Path, decoder: str, epoch: int, gene_ids: pd.Index) -> np.ndarray:
    """Return sums over a decoder's values of some genes in validation blocks, float64, (4, blocks, genes).

    They are of values where the gene is expressed in an epoch (tables.GENE_ERROR_SUMS): their number, the absolute
    errors of the model and of the null, and the values themselves. WcedError if the file is no table of sums, or lacks
    the decoder or the epoch.
    """
    columns = ["decoder", "epoch", "dataset", "part", "gene_id", *_SUMS]
    names = open_parquet(path, "sums of gene errors").schema_arrow.names
    for missing in (name for name in columns if name not in names):
        raise WcedError(f"{path}: column {missing} of {GENE_ERROR_SUMS.name} is missing")
    rows = pq.read_table(path, columns=columns[2:], filters=[("decoder", "==", decoder), ("epoch", "==", epoch)])
    if len(rows) == 0:
        raise WcedError(f"{path}: no rows of decoder {decoder} and epoch {epoch}")
    frame = rows.to_pandas().astype({"dataset": "category", "gene_id": "category"})
    block, blocks = pd.factorize(frame["dataset"].cat.codes.astype(int) * 256 + frame["part"])  # part is int8
    column = gene_ids.get_indexer(frame["gene_id"].cat.categories)[frame["gene_id"].cat.codes]
    wanted = column >= 0
    sums = np.zeros((len(_SUMS), len(blocks), len(gene_ids)))
    for sum_bg, name in zip(sums, _SUMS, strict=True):
        sum_bg[block[wanted], column[wanted]] = frame[name].to_numpy()[wanted]
    return sums


def bootstrap(sums: np.ndarray, axis: Axis, section: Learnability, seed: int) -> Bootstraps:
    """Sample the blocks of `read_sums` with replacement, as many as there are, and fit the errors of each sample.

    The genes, their zero fractions and the null's means stay those of all cells: the question is how sure the errors
    are, not which genes are expressed. There are no samples without genes, or of fewer than `min_blocks` blocks.
    """
    _, n_blocks, n_genes = sums.shape
    samples = section.bootstraps if n_genes and n_blocks >= section.min_blocks else 0
    rng = np.random.default_rng(seed)
    weight_rb = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=samples).astype(np.float64)
    error_rg, null_rg, value_rg = (weight_rb @ sum_bg for sum_bg in sums[1:])
    with np.errstate(invalid="ignore", divide="ignore"):
        # Both MAE and mean non-zero value are sums over the same values, so their number cancels out.
        rescaled_rg = np.where(value_rg > 0, error_rg / value_rg, np.nan)
        improvement_rg = np.where(null_rg > 0, 1 - error_rg / null_rg, np.nan)
    fits = [fit(axis, rescaled_g, section) for rescaled_g in progress(rescaled_rg, "samples of blocks", unit="samples")]
    return Bootstraps(
        error_rg=rescaled_rg,
        improvement_rg=improvement_rg,
        winner_rg=np.array([each.winner_g for each in fits], bool).reshape(samples, n_genes),
        loser_rg=np.array([each.loser_g for each in fits], bool).reshape(samples, n_genes),
        explained_r=np.array([each.explained for each in fits]),
    )

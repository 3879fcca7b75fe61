"""Gene errors and their sums as a training would write them, with known winners."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from wced import tables

PROGRAMS = ("identity", "constitutive", "cell_cycle", "dissociation", "unassigned")


def annotation(n_genes: int, seed: int = 0, families: int = 6) -> pd.DataFrame:
    """Return what the analysis reads of tables.GENE_ANNOTATION, at random."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "gene_id": [f"ENSG{g:011d}" for g in range(n_genes)],
            "gene_symbol": [f"GENE{g}" for g in range(n_genes)],
            "family": rng.choice([f"Family {i}" for i in range(families)], n_genes),
            "program": rng.choice(PROGRAMS, n_genes, p=[0.18, 0.17, 0.04, 0.04, 0.57]),
            "proxies": "",
        }
    )


def write_checkpoint(
    folder: Path,
    genes: pd.DataFrame,
    *,
    decoder: str = "wced",
    cells: int = 20_000,
    epochs: int = 3,
    blocks: int = 32,
    winners: np.ndarray | None = None,
    strength: float = 5.0,
    seed: int = 0,
) -> None:
    """Write gene_errors.parquet and gene_error_sums.parquet of a checkpoint with the name of its folder.

    Log errors of genes have the standard deviation 0.05; those of `winners` (indices of `genes`) lie `strength` times
    as far below the trend.
    """
    rng = np.random.default_rng(seed)
    n_genes = len(genes)
    zero_fraction = 1 - rng.beta(0.7, 2.5, n_genes)
    log_error = np.log(0.15 + 0.7 * zero_fraction**2) + 0.05 * rng.standard_normal(n_genes)
    if winners is not None:
        log_error[winners] = np.log(0.15 + 0.7 * zero_fraction[winners] ** 2) - strength * 0.05
    mean, null = 1 + rng.random(n_genes), 0.25 + 0.1 * rng.random(n_genes)
    n_nonzero_bg = rng.binomial(cells // blocks, np.broadcast_to(1 - zero_fraction, (blocks, n_genes)))
    noise_bg = 1 + 0.05 * rng.standard_normal((blocks, n_genes))
    value_bg = n_nonzero_bg * mean
    error_bg = n_nonzero_bg * np.exp(log_error) * mean * noise_bg
    null_bg = n_nonzero_bg * null * mean
    n_nonzero = n_nonzero_bg.sum(axis=0)
    with np.errstate(invalid="ignore"):
        last = error_bg.sum(axis=0) / n_nonzero
        frames = []
        for epoch in range(1, epochs + 1):
            mae = last * (1 + 0.3 * (0.5 ** (epoch - 1) - 0.5 ** (epochs - 1)))
            frame = genes[["gene_id", "gene_symbol"]].assign(
                checkpoint=folder.name,
                decoder=decoder,
                epoch=epoch,
                n=cells,
                n_nonzero=n_nonzero,
                zero_fraction=1 - n_nonzero / cells,
                mean_nonzero=mean,
                detection_auc=0.8 + 0.2 * rng.random(n_genes),
                nonzero_mae=mae,
                nonzero_mae_ungated=mae,
                null_mae=null * mean,
                rescaled_mae=mae / mean,
                rescaled_null_mae=null,
            )
            frames.append(frame)
    folder.mkdir(parents=True)
    tables.write(pd.concat(frames), tables.GENE_ERRORS, folder / "gene_errors.parquet")
    block, gene = np.divmod(np.arange(blocks * n_genes), n_genes)
    words = pa.DictionaryArray.from_arrays
    one = np.zeros(len(block), np.int8)
    columns = {
        "checkpoint": words(one, [folder.name]),
        "decoder": words(one, [decoder]),
        "epoch": np.full(len(block), epochs, np.int32),
        "dataset": words((block // 16).astype(np.int8), [f"d{i}" for i in range(-(-blocks // 16))]),
        "part": (block % 16).astype(np.int8),
        "gene_id": words(gene.astype(np.int32), list(genes["gene_id"])),
        "n": np.full(len(block), cells // blocks, np.int32),
        "n_nonzero": n_nonzero_bg.ravel().astype(np.int32),
        "sum_abs_error": error_bg.ravel(),
        "sum_abs_error_ungated": error_bg.ravel(),
        "sum_abs_error_null": null_bg.ravel(),
        "sum_prediction": value_bg.ravel(),
        "sum_value": value_bg.ravel(),
        "sum_squared_value": (value_bg * mean).ravel(),
    }
    parquet.write_table(pa.table(columns), folder / "gene_error_sums.parquet", compression_level=1, compression="zstd")

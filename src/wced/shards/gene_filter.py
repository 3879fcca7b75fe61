"""Which genes are expressed often enough, and unevenly enough, to be in the vocabulary."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from wced.config import corpus as config
from wced.errors import WcedError
from wced.shards.counts import CountReader
from wced.shards.vocabulary import Vocabulary

if TYPE_CHECKING:
    import tiledbsoma

RUN_CELLS = 256
"""Consecutive training cells that are sampled together: single ones would cost nearly all bytes of a remote Census."""


def sampled_cells(cells: pd.DataFrame, sample_cells: int, seed: int) -> pd.DataFrame:
    """Return random runs of `RUN_CELLS` consecutive training cells, until there are `sample_cells` or all."""
    train = np.flatnonzero((cells["split"] == "train").to_numpy())
    order = np.random.default_rng([seed, 5]).permutation(-(-len(train) // RUN_CELLS))
    sizes = np.minimum(len(train) - order * RUN_CELLS, RUN_CELLS)
    runs = order[: np.searchsorted(np.cumsum(sizes), sample_cells) + 1]
    return cells.iloc[train[np.isin(np.arange(len(train)) // RUN_CELLS, runs)]]


def gene_statistics(
    experiment: "tiledbsoma.Experiment",
    cells: pd.DataFrame,
    vocabulary: Vocabulary,
    measured_dv: np.ndarray,
    dataset_ids: Sequence[str],
    section: config.Census,
) -> pd.DataFrame:
    """Return the expression of each gene over some rows of cells.parquet: `wced.tables.GENE_FILTER` without `kept`.

    The dispersion is that of Seurat's and scanpy's highly variable genes (Satija et al. 2015, Nat Biotechnol 33:495),
    before its logarithm: var(x) / mean(x), with n - 1 degrees of freedom, of x = 10,000 × count / counts of all genes
    of `vocabulary` in the cell. Of a gene only the cells count whose dataset measured it, as `measured_dv` (bool,
    `dataset_ids` × genes) says.
    """
    reader, genes = CountReader(experiment, vocabulary, section), len(vocabulary)
    expressed_v, sum_v, square_v = np.zeros(genes, np.int64), np.zeros(genes), np.zeros(genes)
    for _, counts in reader.batches(cells, len(cells), "gene filter"):
        value = counts.count * np.repeat(1e4 / np.maximum(counts.inside, 1), np.diff(counts.offsets))
        expressed_v += np.bincount(counts.gene, minlength=genes)
        sum_v += np.bincount(counts.gene, value, genes)
        square_v += np.bincount(counts.gene, value**2, genes)
    codes = pd.Index(dataset_ids).get_indexer(cells["dataset_id"].astype(str))
    cells_v = np.bincount(codes, minlength=len(dataset_ids)) @ measured_dv.astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_v = sum_v / cells_v
        variance_v = (square_v - cells_v * mean_v**2) / (cells_v - 1)
        return pd.DataFrame(
            {
                "gene_id": vocabulary.gene_ids,
                "symbol": vocabulary.symbols,
                "cells": cells_v,
                "frequency": expressed_v / cells_v,
                "mean_cp10k": mean_v,
                "dispersion": np.maximum(variance_v, 0) / mean_v,
            }
        )


def reaches_thresholds(statistics: pd.DataFrame, section: config.GeneFilter) -> np.ndarray:
    """Return which genes stay, bool: frequency of at least `min_fraction`, dispersion of at least `min_dispersion`.

    A gene without a frequency (no sampled cell's dataset measured it) or without a dispersion reaches no threshold.
    """
    kept = np.ones(len(statistics), bool)
    if section.min_fraction > 0:
        kept &= statistics["frequency"].to_numpy() >= section.min_fraction
    if section.min_dispersion is not None:
        kept &= statistics["dispersion"].to_numpy() >= section.min_dispersion
    return kept


def filtered(
    experiment: "tiledbsoma.Experiment",
    cells: pd.DataFrame,
    vocabulary: Vocabulary,
    measured_dv: np.ndarray,
    dataset_ids: Sequence[str],
    section: config.GeneFilter,
    seed: int,
    census: config.Census,
) -> tuple[Vocabulary, pd.DataFrame]:
    """Return the vocabulary of the genes that pass the filter, and the table that says why (`wced.tables.GENE_FILTER`).

    `seed` chooses a sample of `cells`, all rows of cells.parquet; `section` has its size and the thresholds. Raises
    WcedError if no gene is left.
    """
    sample = sampled_cells(cells, section.sample_cells, seed)
    table = gene_statistics(experiment, sample, vocabulary, measured_dv, dataset_ids, census)
    table["kept"] = reaches_thresholds(table, section)
    if not table["kept"].any():
        raise WcedError(f"shards.genes: the filter leaves none of {len(table)} genes; lower its thresholds")
    return vocabulary.subset(table["kept"].to_numpy()), table

"""Which genes are expressed often enough, and unevenly enough, to be worth a place in the vocabulary."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from wced.config import corpus as config
from wced.errors import WcedError
from wced.progress import progress
from wced.shards.counts import CountReader
from wced.shards.vocabulary import Vocabulary
from wced.shards.write import batch_bounds

if TYPE_CHECKING:
    import tiledbsoma

RUN_CELLS = 256
"""Consecutive training cells that are drawn together: single ones would cost nearly all bytes of a remote Census."""

TARGET_SUM = 1e4
"""Counts that a cell is scaled to."""


@dataclass(frozen=True)
class GeneStatistics:
    """Expression of genes over a sample of cells; of a gene only the cells count whose dataset measured it."""

    cells_v: np.ndarray
    """int64, (genes,): sampled cells whose dataset measured the gene."""
    frequency_v: np.ndarray
    """float64, (genes,): share of them that express it; NaN without cells."""
    mean_v: np.ndarray
    """float64, (genes,): their mean counts per 10,000."""
    dispersion_v: np.ndarray
    """float64, (genes,): variance (n - 1 degrees of freedom) / mean of the counts per 10,000; NaN without counts."""


def sampled_cells(cells: pd.DataFrame, sample_cells: int, seed: int) -> pd.DataFrame:
    """Return training cells in runs of `RUN_CELLS` consecutive ones, drawn until there are `sample_cells` or all."""
    train = np.flatnonzero((cells["split"] == "train").to_numpy())
    runs = -(-len(train) // RUN_CELLS)
    order = np.random.default_rng([seed, 5]).permutation(runs)
    sizes = np.minimum(len(train) - order * RUN_CELLS, RUN_CELLS)
    drawn = order[: np.searchsorted(np.cumsum(sizes), sample_cells) + 1]
    return cells.iloc[train[np.isin(np.arange(len(train)) // RUN_CELLS, drawn)]]


def gene_statistics(
    experiment: "tiledbsoma.Experiment",
    cells: pd.DataFrame,
    vocabulary: Vocabulary,
    measured_dv: np.ndarray,
    dataset_ids: Sequence[str],
    section: config.Census,
) -> GeneStatistics:
    """Measure the expression of genes over some cells.

    The dispersion is that of Seurat's and scanpy's highly variable genes (Satija et al. 2015, Nat Biotechnol 33:495),
    before its logarithm: var(x) / mean(x) with x = 10,000 × count / counts of all genes of `vocabulary` in the cell.

    Parameters
    ----------
    experiment
        An organism of a Census.
    cells
        Rows of cells.parquet.
    vocabulary
        Genes.
    measured_dv
        bool, datasets × genes: which genes each dataset measured.
    dataset_ids
        Datasets, in the order of the rows of `measured_dv`.
    section
        Config of the corpus: how often a read is tried.
    """
    reader, genes = CountReader(experiment, vocabulary, section), len(vocabulary)
    expressed_v, sum_v, square_v = np.zeros(genes, np.int64), np.zeros(genes), np.zeros(genes)
    nonzeros = cells["nnz"].to_numpy(np.int64)
    bounds = batch_bounds(nonzeros, len(cells))
    batches = progress(
        itertools.pairwise(bounds.tolist()), "gene filter", total=len(cells), unit="cells",
        size=lambda batch: batch[1] - batch[0],
    )  # fmt: skip
    for start, stop in batches:
        rows = cells.iloc[start:stop]
        counts = reader.read(rows["soma_joinid"].to_numpy(), nonzeros[start:stop], rows["dataset_id"], "gene filter")
        scale = TARGET_SUM / np.maximum(counts.inside, 1)
        value = counts.count * np.repeat(scale, np.diff(counts.offsets))
        expressed_v += np.bincount(counts.gene, minlength=genes)
        sum_v += np.bincount(counts.gene, value, genes)
        square_v += np.bincount(counts.gene, value**2, genes)
    codes = pd.Index(dataset_ids).get_indexer(cells["dataset_id"].astype(str))
    cells_v = np.bincount(codes, minlength=len(dataset_ids)) @ measured_dv.astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_v = sum_v / cells_v
        variance_v = (square_v - cells_v * mean_v**2) / (cells_v - 1)
        return GeneStatistics(cells_v, expressed_v / cells_v, mean_v, np.maximum(variance_v, 0) / mean_v)


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
    """Return the vocabulary of the genes that pass the filter, and the table that says why.

    Parameters
    ----------
    experiment, vocabulary, measured_dv, dataset_ids, census
        As in `gene_statistics`.
    cells
        All cells of cells.parquet.
    section
        Thresholds, and how many cells are looked at.
    seed
        Seed of their choice.

    Raises
    ------
    WcedError
        If no gene is left.
    """
    sample = sampled_cells(cells, section.sample_cells, seed)
    statistics = gene_statistics(experiment, sample, vocabulary, measured_dv, dataset_ids, census)
    table = judged(vocabulary, statistics, section)
    if not table["kept"].any():
        raise WcedError(f"shards.genes: the filter leaves none of {len(table)} genes; lower its thresholds")
    return vocabulary.chosen(table["kept"].to_numpy()), table


def judged(vocabulary: Vocabulary, statistics: GeneStatistics, section: config.GeneFilter) -> pd.DataFrame:
    """Return a row of `wced.tables.GENE_FILTER` for each gene of a vocabulary.

    A gene stays if its frequency is at least `min_fraction` and its dispersion at least `min_dispersion`. One without a
    frequency (no sampled cell is of a dataset that measured it) or without a dispersion does not reach a threshold.
    """
    kept = np.ones(len(vocabulary), bool)
    if section.min_fraction > 0:
        kept &= statistics.frequency_v >= section.min_fraction
    if section.min_dispersion is not None:
        kept &= statistics.dispersion_v >= section.min_dispersion
    return pd.DataFrame(
        {
            "gene_id": vocabulary.gene_ids,
            "symbol": vocabulary.symbols,
            "cells": statistics.cells_v,
            "frequency": statistics.frequency_v,
            "mean_cp10k": statistics.mean_v,
            "dispersion": statistics.dispersion_v,
            "kept": kept,
        }
    )

"""What the data alone say about each gene: how often it is expressed, and how far its values are from their mean."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wced.shards.batches import BatchDataset
from wced.shards.encode import Encoding, encode
from wced.shards.order import CellSource

_CELLS = 4096

Values = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Gives, each time it is called, the same pairs of flat arrays: vocabulary ids and values above 0."""


@dataclass(frozen=True)
class Nonzero:
    """Non-zero values of each vocabulary gene; float64, (G,), NaN for a gene without any."""

    n: np.ndarray
    """Number of values (0, not NaN, where there is none)."""
    mean: np.ndarray
    """Mean log1p_10k."""
    null_mae: np.ndarray
    """Mean absolute deviation from that mean: the error of a null model that always predicts it."""


def nonzero(values: Values, vocabulary_size: int) -> Nonzero:
    """Compute mean and deviation in two passes, in memory that does not grow with the values."""
    n, total, deviation = np.zeros((3, vocabulary_size))
    for gene, value in values():
        n += np.bincount(gene, minlength=vocabulary_size)
        total += np.bincount(gene, value, minlength=vocabulary_size)
    with np.errstate(invalid="ignore"):
        mean = total / n
        for gene, value in values():
            deviation += np.bincount(gene, np.abs(value - mean[gene]), minlength=vocabulary_size)
        return Nonzero(n, mean, deviation / n)


def cell_values(shards: CellSource, split: str) -> Values:
    """Return all non-zero values of the cells of a split."""
    bounds, _ = shards.blocks(split, _CELLS)

    def values() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        for start, stop in pairwise(bounds):
            block = shards.views(shards.places(split, start, stop))
            batch = encode(block, shards.measured_dv, Encoding(length=1), training=False)
            yield batch.target_gene, batch.target_value

    return values


def masked_values(dataset: BatchDataset) -> Values:
    """Return the non-zero values at the masked positions of epoch 0 of a masked language modelling dataset."""

    def values() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        for step in range(dataset.steps()):
            batch = dataset[0, step]
            at = batch["masked"] & (batch["position_target"] > 0)
            yield batch["gene"][at].numpy(), batch["position_target"][at].numpy()

    return values


def measured_cells(shards: CellSource, split: str) -> np.ndarray:
    """Return, per vocabulary gene, the number of a split's cells whose dataset measured it; float64, (G,)."""
    bounds, _ = shards.blocks(split, _CELLS)
    per_dataset = np.zeros(len(shards.dataset_ids), np.int64)
    for start, stop in pairwise(bounds):
        codes = shards.column("dataset", shards.places(split, start, stop))
        per_dataset += np.bincount(codes, minlength=len(per_dataset))
    return per_dataset @ shards.measured_dv.astype(np.float64)

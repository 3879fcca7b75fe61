"""What the data alone say about each gene: how often it is expressed, and how far its values are from their mean."""

from dataclasses import dataclass

import numpy as np

from wced.shards.encode import Encoding, encode
from wced.shards.reader import ShardSet

_CELLS = 4096


@dataclass(frozen=True)
class GeneStatistics:
    """Per vocabulary gene, over the cells of a split whose dataset measured the gene; all float64, (G,)."""

    n: np.ndarray
    """Cells whose dataset measured the gene."""
    n_nonzero: np.ndarray
    """Of these, cells that express it."""
    mean_nonzero: np.ndarray
    """Mean log1p_10k where expressed; NaN for a gene that never is."""
    null_mae: np.ndarray
    """Mean absolute deviation of those values from that mean: the error of always predicting it; NaN likewise."""

    @property
    def detection_rate(self) -> np.ndarray:
        """Share of cells that express the gene; 0 where no dataset measured it."""
        return self.n_nonzero / np.maximum(self.n, 1)


def gene_statistics(shards: ShardSet, split: str) -> GeneStatistics:
    """Compute the statistics of a split in two passes over its shards and in bounded memory."""
    cells, size = shards.cells_of(split), len(shards.vocabulary)
    per_dataset = np.bincount(shards.dataset[cells], minlength=len(shards.dataset_ids))
    n = per_dataset @ shards.measured_dv.astype(np.float64)
    encoding = Encoding(length=1)
    n_nonzero, total, deviation = np.zeros(size), np.zeros(size), np.zeros(size)
    blocks = [cells[start : start + _CELLS] for start in range(0, len(cells), _CELLS)]

    def targets(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        batch = encode(shards.take(block), shards.measured_dv, encoding, training=False)
        return batch.target_gene, batch.target_value

    for block in blocks:
        gene, value = targets(block)
        n_nonzero += np.bincount(gene, minlength=size)
        total += np.bincount(gene, value, minlength=size)
    with np.errstate(invalid="ignore"):
        mean = total / n_nonzero
    for block in blocks:
        gene, value = targets(block)
        deviation += np.bincount(gene, np.abs(value - mean[gene]), minlength=size)
    with np.errstate(invalid="ignore"):
        return GeneStatistics(n, n_nonzero, mean, deviation / n_nonzero)

"""How well batches are mixed: the Shannon entropy of the datasets of a batch's cells."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def entropy(classes: np.ndarray) -> float:
    """Return the entropy of the classes of some cells in bits."""
    _, counts = np.unique(classes, return_counts=True)
    share = counts / len(classes)
    return float((share * np.log2(1 / share)).sum())  # 0, not -0, where there is one class


def mean_entropies(batches: Sequence[np.ndarray], dataset: np.ndarray) -> tuple[float, float]:
    """Return the mean entropy of some batches in bits, and what a full shuffle is expected to have at their sizes.

    Parameters
    ----------
    batches
        Dataset of every cell of each batch, int; none gives NaN.
    dataset
        Dataset of every cell of the corpus, int.
    """
    if not batches:
        return float("nan"), float("nan")
    expected = {size: full_shuffle_entropy(dataset, size) for size in {len(batch) for batch in batches}}
    return (
        float(np.mean([entropy(batch) for batch in batches])),
        float(np.mean([expected[len(batch)] for batch in batches])),
    )


def full_shuffle_entropy(dataset: np.ndarray, batch_size: int) -> float:
    """Return the expected entropy in bits of `batch_size` cells drawn from all cells without replacement.

    Each dataset's number k in a batch is hypergeometric, so the expectation is the sum over datasets and k of
    P(k) · -(k/n) log2(k/n): exact, no simulation.

    Parameters
    ----------
    dataset
        Dataset of every cell, int.
    batch_size
        Cells of a batch, at most all.
    """
    _, sizes = np.unique(dataset, return_counts=True)
    k = np.arange(1, batch_size + 1)
    probability = stats.hypergeom.pmf(k[None, :], len(dataset), sizes[:, None], batch_size)
    share = k / batch_size
    return float(-(probability * (share * np.log2(share))[None, :]).sum())

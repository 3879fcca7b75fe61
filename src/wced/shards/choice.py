"""Adaptive choice of what is predicted: positions of some genes are chosen more often than those of others."""

import numpy as np


def choice_probabilities(weights_g: np.ndarray, positions_g: np.ndarray, select: float) -> np.ndarray:
    """Return how likely a position that holds each gene is chosen: p_g = min(1, c · w_g).

    c is such that on average over all positions, Σ n_g p_g / Σ n_g, the share `select` is chosen. It is smaller only
    where the genes of positive weight have fewer positions than that.

    Parameters
    ----------
    weights_g
        (genes,): relative weights w, finite and at least 0; below 1e-12 of the largest they count as 0.
    positions_g
        (genes,): how often each gene is met in sequences, n, above 0.
    select
        Share of positions to choose, from 0 to 1.

    Returns
    -------
    numpy.ndarray
        float64, (genes,).
    """
    weights_g, positions_g = np.asarray(weights_g, np.float64), np.asarray(positions_g, np.float64)
    if weights_g.shape != positions_g.shape or not (np.isfinite(weights_g) & (weights_g >= 0)).all():
        raise ValueError(f"weights of {len(positions_g)} genes must be as many finite numbers, none of them negative")
    weights_g = np.where(weights_g < 1e-12 * weights_g.max(initial=0.0), 0.0, weights_g)
    certain = np.zeros(len(weights_g), bool)
    while True:
        rest = select * positions_g.sum() - positions_g[certain].sum()
        shared = (positions_g * weights_g)[~certain].sum()
        chosen_g = np.where(certain, 1.0, weights_g * (rest / shared if shared > 0 else 0.0))
        over = ~certain & (chosen_g > 1)
        if not over.any():
            return chosen_g
        certain |= over

"""Scores of predicted labels by several methods on the same cells, with intervals, and how far methods differ."""

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from wced.stats import SAMPLES, Score, bootstrap_counts, percentiles, wilson

_CHUNK = 100


class LabelScores:
    """Accuracy and F1 of the labels that several methods give the same cells.

    Cells are resampled once for all methods, so differences between methods are paired.
    """

    def __init__(self, true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray], seed: int) -> None:
        """Count and resample.

        Parameters
        ----------
        true_n
            True labels, (n,); at least one.
        predicted_n
            Labels by each method, in the order of the cells.
        seed
            Seed of the bootstrap.
        """
        stacked = np.stack([np.asarray(labels, dtype=str) for labels in (true_n, *predicted_n.values())])
        classes, codes = np.unique(stacked, return_inverse=True)
        (true_u, *predicted), count_u = np.unique(codes.reshape(stacked.shape), axis=1, return_counts=True)
        self.n = int(count_u.sum())
        counts = [count_u[None], *np.split(bootstrap_counts(count_u, seed), SAMPLES // _CHUNK)]
        self._correct, self._f1 = {}, {}
        for method, predicted_u in zip(predicted_n, predicted, strict=True):
            self._correct[method] = int(count_u[true_u == predicted_u].sum())
            parts = [_f1(part, true_u, predicted_u, len(classes)) for part in counts]
            self._f1[method] = {average: np.concatenate([part[average] for part in parts]) for average in parts[0]}

    def accuracy(self, method: str) -> Score:
        """Return the share of cells whose label is right, with Wilson's 95% interval."""
        return wilson(self._correct[method], self.n)

    def f1(self, method: str, average: str) -> Score:
        """Return the F1 averaged over classes: `macro`, each alike, or `weighted` by their true cells.

        As in scikit-learn the classes are those that any of the cells has or is given.
        """
        return self._interval(self._f1[method][average])

    def gain(self, method: str, over: str, average: str) -> Score:
        """Return how much higher the F1 of a method is than that of another, on the same cells."""
        return self._interval(self._f1[method][average] - self._f1[over][average])

    def _interval(self, value_b: np.ndarray) -> Score:
        """Return the first value, which is that of the cells as they are, with the percentiles of the others."""
        return percentiles(value_b[0], value_b[1:], "cells", self.n)


def _f1(count_bu: np.ndarray, true_u: np.ndarray, predicted_u: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Return macro and weighted F1 of each row of counts of combinations of a true and a predicted class."""
    row_u, one_u, shape = np.arange(len(true_u)), np.ones(len(true_u)), (len(true_u), classes)
    true_bc = count_bu @ sparse.csr_matrix((one_u, (row_u, true_u)), shape)
    predicted_bc = count_bu @ sparse.csr_matrix((one_u, (row_u, predicted_u)), shape)
    right_bc = count_bu @ sparse.csr_matrix(((true_u == predicted_u).astype(float), (row_u, true_u)), shape)
    either_bc = true_bc + predicted_bc
    f1_bc = 2 * right_bc / np.maximum(either_bc, 1)
    return {
        "macro": f1_bc.sum(axis=1) / (either_bc > 0).sum(axis=1),
        "weighted": (f1_bc * true_bc).sum(axis=1) / true_bc.sum(axis=1),
    }

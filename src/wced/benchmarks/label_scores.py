"""Scores of predicted labels by several methods on the same cells, with intervals, and how far methods differ."""

from collections.abc import Mapping

import numpy as np

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
        names = list(predicted_n)
        stacked = np.stack([np.asarray(true_n, dtype=str), *(np.asarray(predicted_n[m], dtype=str) for m in names)])
        classes, codes = np.unique(stacked, return_inverse=True)
        combinations, count_u = np.unique(codes.reshape(stacked.shape), axis=1, return_counts=True)
        self.n = int(count_u.sum())
        self._correct = {m: int(count_u[combinations[0] == combinations[1 + i]].sum()) for i, m in enumerate(names)}
        counts = [count_u[None], *np.split(bootstrap_counts(count_u, seed), SAMPLES // _CHUNK)]
        self._f1 = {}
        for i, method in enumerate(names):
            parts = [_f1(part, combinations[0], combinations[1 + i], len(classes)) for part in counts]
            self._f1[method] = {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}

    def accuracy(self, method: str) -> Score:
        """Return the share of cells whose label is right, with Wilson's 95% interval."""
        return wilson(self._correct[method], self.n)

    def f1(self, method: str, average: str) -> Score:
        """Return the F1 averaged over classes: `macro`, each alike, or `weighted` by their true cells.

        As scikit-learn has it: the classes are those that any of the cells has or is given.
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
    from scipy import sparse

    place, one = np.arange(len(true_u)), np.ones(len(true_u))
    shape = (len(true_u), classes)
    true_bc = count_bu @ sparse.csr_matrix((one, (place, true_u)), shape)
    predicted_bc = count_bu @ sparse.csr_matrix((one, (place, predicted_u)), shape)
    right_bc = count_bu @ sparse.csr_matrix(((true_u == predicted_u).astype(float), (place, true_u)), shape)
    there_bc = true_bc + predicted_bc
    f1_bc = 2 * right_bc / np.maximum(there_bc, 1)
    return {
        "macro": f1_bc.sum(axis=1) / (there_bc > 0).sum(axis=1),
        "weighted": (f1_bc * true_bc).sum(axis=1) / true_bc.sum(axis=1),
    }

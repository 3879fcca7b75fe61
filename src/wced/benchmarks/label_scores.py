"""Scores of the labels that several methods give the same cells, with intervals, and how far methods differ."""

from collections.abc import Mapping

import numpy as np
from scipy import sparse

from wced.stats import SAMPLES, Score, bootstrap_counts, percentiles, wilson

_CHUNK = 100


def label_scores(
    true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray], seed: int, reference: str | None = None
) -> dict[str, Score]:
    """Return `accuracy_METHOD`, `macro_f1_METHOD` and `weighted_f1_METHOD` of the labels by each method.

    With a reference there are also `gain_macro_f1_METHOD` and `gain_weighted_f1_METHOD`: how much higher the F1 is than
    that of the reference. Cells are resampled once for all methods, so gains are paired. Accuracy has Wilson's
    interval. F1 is averaged over classes, each alike or weighted by their true cells; as in scikit-learn the classes
    are those that any of the cells has or is given. There is at least one cell.
    """
    stacked = np.stack([np.asarray(labels, dtype=str) for labels in (true_n, *predicted_n.values())])
    classes, codes = np.unique(stacked, return_inverse=True)
    (true_u, *predicted), count_u = np.unique(codes.reshape(stacked.shape), axis=1, return_counts=True)
    n, scores, f1_b = int(count_u.sum()), {}, {}
    counts = [count_u[None], *np.split(bootstrap_counts(count_u, seed), SAMPLES // _CHUNK)]
    for method, predicted_u in zip(predicted_n, predicted, strict=True):
        scores[f"accuracy_{method}"] = wilson(int(count_u[true_u == predicted_u].sum()), n)
        parts = [_f1(part, true_u, predicted_u, len(classes)) for part in counts]
        f1_b |= {f"{average}_f1_{method}": np.concatenate([part[average] for part in parts]) for average in parts[0]}
    if reference is not None:
        for average in ("macro", "weighted"):
            over_b = f1_b[f"{average}_f1_{reference}"]
            f1_b |= {f"gain_{average}_f1_{method}": f1_b[f"{average}_f1_{method}"] - over_b for method in predicted_n}
    # The first value is that of the cells as they are, the others those of the samples.
    return scores | {name: percentiles(value_b[0], value_b[1:], "cells", n) for name, value_b in f1_b.items()}


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

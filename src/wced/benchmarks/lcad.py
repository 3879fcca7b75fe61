"""Lowest common ancestor distance (LCAD): how far in the Cell Ontology a predicted cell type lies from the true one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from wced.benchmarks.labels import current_term
from wced.errors import WcedError
from wced.ontology import CellOntology
from wced.stats import Score, bootstrap_counts, missing, percentiles

METRICS = ("lcad_errors", "lcad", "lcad_up_errors")
"""Mean over the cells whose predicted term is not the true one; over all cells; and the first in scFM-Bench's way."""


def meeting(true: str, predicted: str, ontology: CellOntology) -> tuple[str, int, int]:
    """Return the lowest common ancestor of two terms, and the fewest is_a links to it from the true and the predicted.

    It is the deepest of the terms that are ancestors of both (or one of the two). Depth is the length of the longest
    is_a path from the root, so a common ancestor is never deeper than one of its descendants. With several parents two
    common ancestors may be equally deep: then the nearest to both terms counts, then the nearest to the true term, then
    the one of the smallest id. Raises WcedError if a term is not a current one of the Cell Ontology.
    """
    up_true, up_predicted = ontology.steps_up(true), ontology.steps_up(predicted)
    ancestor = min(
        up_true.keys() & up_predicted.keys(),
        key=lambda term: (-ontology.depths[term], up_true[term] + up_predicted[term], up_true[term], term),
    )
    return ancestor, up_true[ancestor], up_predicted[ancestor]


def links(true_n: Sequence[str], predicted_n: Sequence[str], ontology: CellOntology) -> np.ndarray:
    """Return how far apart the true and the predicted cell type of each cell are: is_a links, cells × 2, int64.

    The columns are the fewest links d(true, a) and d(predicted, a) to a, where the terms meet (see `meeting`), and

        LCAD(true, predicted) = d(true, a) + d(predicted, a),

    which is 0 exactly where both are one term. The metric is of "Biology-driven insights into the power of single-cell
    foundation models" (Genome Biology 2025), whose text calls it the ontological proximity of misclassified types. Its
    code (scFM-Bench, `calculate_lcad`) counts d(true, a) only, so that a prediction that is too fine costs nothing.
    Both are in the tables; see `scores`. Obsolete terms count as those that replace them.

    Raises WcedError if a term is not in the Cell Ontology, or there are not as many true as predicted ones.
    """
    if len(true_n) != len(predicted_n):
        raise WcedError(f"LCAD: {len(true_n)} true terms, but {len(predicted_n)} predicted ones")
    codes_2n, terms = pd.factorize(np.concatenate([np.asarray(true_n, dtype=str), np.asarray(predicted_n, dtype=str)]))
    current = [current_term(term, ontology, "LCAD") for term in terms]
    pairs, pair_n = np.unique(codes_2n.reshape(2, -1), axis=1, return_inverse=True)
    up = [meeting(current[true], current[predicted], ontology)[1:] for true, predicted in pairs.T]
    return np.array(up, dtype=np.int64).reshape(-1, 2)[pair_n]


def scores(true_n: Sequence[str], predicted_n: Sequence[str], ontology: CellOntology, seed: int) -> dict[str, Score]:
    """Return the mean LCAD over wrong cells, over all cells, and over wrong cells as scFM-Bench counts it.

    There is at least one cell. Cells whose true or predicted label is not in the Cell Ontology have no distance and are
    left out; `n` counts the others, or the wrong ones of these. Scores say why they are empty.
    """
    true_n, predicted_n = (np.asarray(labels, dtype=str) for labels in (true_n, predicted_n))
    outside = [term for term in np.union1d(true_n, predicted_n) if ontology.current(term) is None]
    inside_n = ~(np.isin(true_n, outside) | np.isin(predicted_n, outside))
    if not inside_n.any():
        return dict.fromkeys(METRICS, missing(f"{outside[0]} is not in the Cell Ontology {ontology.version}"))
    up_n2 = links(true_n[inside_n], predicted_n[inside_n], ontology)
    up_u2, count_u = np.unique(up_n2, axis=0, return_counts=True)
    total_u, sampled_bu = up_u2.sum(axis=1), bootstrap_counts(count_u, seed)
    wrong_u = total_u > 0
    errors = up_errors = missing("no cell is wrong")
    if wrong_u.any():
        errors = _mean(total_u[wrong_u], count_u[wrong_u], sampled_bu[:, wrong_u])
        up_errors = _mean(up_u2[wrong_u, 0], count_u[wrong_u], sampled_bu[:, wrong_u])
    return dict(zip(METRICS, (errors, _mean(total_u, count_u, sampled_bu), up_errors), strict=True))


def _mean(value_u: np.ndarray, count_u: np.ndarray, sampled_bu: np.ndarray) -> Score:
    sampled_bu = sampled_bu[sampled_bu.sum(axis=1) > 0]  # a sample may hold no wrong cell
    n = int(count_u.sum())
    return percentiles(count_u @ value_u / n, sampled_bu @ value_u / sampled_bu.sum(axis=1), "cells", n)

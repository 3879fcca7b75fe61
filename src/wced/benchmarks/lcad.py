"""Lowest common ancestor distance (LCAD): how far in the Cell Ontology a predicted cell type lies from the true one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.ontology import CellOntology
from wced.stats import Score, bootstrap_counts, missing, percentiles

METRICS = ("lcad_errors", "lcad", "lcad_up_errors")
"""Mean over the cells whose predicted term is not the true one; over all cells; and the first in scFM-Bench's way."""


class Distance(NamedTuple):
    """Where two terms meet."""

    ancestor: str
    """Their lowest common ancestor."""
    up_true: int
    """Fewest is_a links from the true term to it."""
    up_predicted: int
    """Fewest is_a links from the predicted term to it."""


def distance(true: str, predicted: str, ontology: CellOntology) -> Distance:
    """Return where two terms meet: at the deepest of the terms that are ancestors of both (or one of the two).

    Depth is the length of the longest is_a path from the root, so a common ancestor is never deeper than one of its
    descendants. In a graph with several parents two common ancestors may be equally deep: of these the nearest to both
    terms counts, then the nearest to the true term, then the one of the smallest id.

    Raises
    ------
    WcedError
        If a term is not a current one of the Cell Ontology.
    """
    up_true, up_predicted = ontology.steps_up(true), ontology.steps_up(predicted)
    common = up_true.keys() & up_predicted.keys()
    ancestor = min(
        common, key=lambda term: (-ontology.depths[term], up_true[term] + up_predicted[term], up_true[term], term)
    )
    return Distance(ancestor, up_true[ancestor], up_predicted[ancestor])


def lcad(true_n: Sequence[str], predicted_n: Sequence[str], ontology: CellOntology) -> np.ndarray:
    """Return for each cell how far apart its true and predicted cell type are.

    With a the lowest common ancestor of both (see `distance`) and d the fewest is_a links between a term and its
    ancestor,

        LCAD(true, predicted) = d(true, a) + d(predicted, a),

    0 exactly where both are one term. The metric is of "Biology-driven insights into the power of single-cell
    foundation models" (Genome Biology 2025), whose text calls it the ontological proximity of misclassified types; its
    code (scFM-Bench, `calculate_lcad`) counts d(true, a) only, so that a prediction that is too fine costs nothing
    however far it strays. Both are in the tables; see `scores`.

    Parameters
    ----------
    true_n, predicted_n
        Cell Ontology ids, one per cell; obsolete ones count as those that replace them.

    Returns
    -------
    np.ndarray
        int64, one per cell, in links.

    Raises
    ------
    WcedError
        If a term is not in the Cell Ontology, or there are not as many true as predicted ones.
    """
    up_n2 = _links(true_n, predicted_n, ontology)
    return up_n2.sum(axis=1)


def scores(
    true_n: Sequence[str], predicted_n: Sequence[str], ontology: CellOntology, seed: int, suffix: str = ""
) -> dict[str, Score]:
    """Return the mean LCAD over wrong cells, over all cells, and over wrong cells as scFM-Bench counts it.

    Cells whose true or predicted label is not in the Cell Ontology have no distance and are left out; `n` says so.

    Parameters
    ----------
    true_n, predicted_n
        Labels, one per cell; at least one cell.
    seed
        Seed of the bootstrap over cells.
    suffix
        End of the names of the metrics.

    Returns
    -------
    dict
        `lcad_errors` and `lcad_up_errors` (empty where no cell is wrong; `n` counts the wrong ones) and `lcad`. All are
        empty, with the reason, where no cell is left.
    """
    true_n, predicted_n = (np.asarray(labels, dtype=str) for labels in (true_n, predicted_n))
    outside = [term for term in np.union1d(true_n, predicted_n) if ontology.current(term) is None]
    inside_n = ~(np.isin(true_n, outside) | np.isin(predicted_n, outside))
    if not inside_n.any():
        reason = missing(f"{outside[0]} is not in the Cell Ontology {ontology.version}")
        return {f"{metric}{suffix}": reason for metric in METRICS}
    true_n, predicted_n = true_n[inside_n], predicted_n[inside_n]
    up_n2 = _links(true_n, predicted_n, ontology)
    up_u2, count_u = np.unique(up_n2, axis=0, return_counts=True)
    total_u, sampled_bu = up_u2.sum(axis=1), bootstrap_counts(count_u, seed)
    wrong_u = total_u > 0
    if wrong_u.any():
        errors = _mean(total_u[wrong_u], count_u[wrong_u], sampled_bu[:, wrong_u])
        up_errors = _mean(up_u2[wrong_u, 0], count_u[wrong_u], sampled_bu[:, wrong_u])
    else:
        errors = up_errors = missing("no cell is wrong")
    found = (errors, _mean(total_u, count_u, sampled_bu), up_errors)
    return {f"{metric}{suffix}": score for metric, score in zip(METRICS, found, strict=True)}


def _links(true_n: Sequence[str], predicted_n: Sequence[str], ontology: CellOntology) -> np.ndarray:
    """Return the links from the true and from the predicted term to their lowest common ancestor; cells × 2."""
    if len(true_n) != len(predicted_n):
        raise WcedError(f"LCAD: {len(true_n)} true terms, but {len(predicted_n)} predicted ones")
    codes_2n, terms = pd.factorize(np.concatenate([np.asarray(true_n, dtype=str), np.asarray(predicted_n, dtype=str)]))
    current = [_current(term, ontology) for term in terms]
    pairs, pair_n = np.unique(codes_2n.reshape(2, -1), axis=1, return_inverse=True)
    links = [distance(current[true], current[predicted], ontology)[1:] for true, predicted in pairs.T]
    return np.array(links, dtype=np.int64).reshape(-1, 2)[pair_n]


def _current(term: str, ontology: CellOntology) -> str:
    current = ontology.current(term)
    if current is None:
        raise WcedError(f"{term}: not in the Cell Ontology {ontology.version}")
    return current


def _mean(value_u: np.ndarray, count_u: np.ndarray, sampled_bu: np.ndarray) -> Score:
    sampled_bu = sampled_bu[sampled_bu.sum(axis=1) > 0]  # a sample may hold no wrong cell
    n = int(count_u.sum())
    return percentiles(count_u @ value_u / n, sampled_bu @ value_u / sampled_bu.sum(axis=1), "cells", n)

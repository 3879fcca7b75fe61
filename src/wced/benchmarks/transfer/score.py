"""Classifiers that are fitted on one dataset and scored on another."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier

from wced.benchmarks import matches
from wced.benchmarks.job import Job, rows, unscored
from wced.benchmarks.labels import labelled
from wced.benchmarks.probe.score import PROTOCOL, classifier_scores, predictions
from wced.benchmarks.task import LEAST_DEPTH
from wced.benchmarks.transfer import LINEAGE, METRICS
from wced.embedding.files import COMMON
from wced.errors import WcedError
from wced.ontology import load
from wced.stats import Score

NEIGHBOURS = 15
"""Training cells that vote on a cell."""


def score(job: Job) -> pd.DataFrame:
    """Fit classifiers on all labelled cells of one dataset, and score them on those of another.

    The probe's linear classifiers read features that the training dataset standardises; neighbours are the `NEIGHBOURS`
    nearest training cells in the embedding as it is, and their most frequent type is predicted (among equals the one
    with the smallest id). All know all types of the training dataset, also those that the other lacks.

    F1, accuracy and LCAD are of the cells whose type the training dataset has, as others cannot be predicted. How a
    prediction relates to the truth (`matches.judged`) is scored for all labelled cells: a type that the training
    dataset lacks may still get a coarser name. Models that embed each dataset in a space of its own have no scores: one
    dataset's first dimension is not the other's. Cells without a cell type are left out.

    Raises WcedError if the two embeddings are of different models or widths.
    """
    test, train = job.embedding.uns["wced"], job.reference.uns["wced"]
    for fact in ("model", "width"):
        if test[fact] != train[fact]:
            datasets = f"transfer from {train['dataset']} to {test['dataset']}"
            raise WcedError(f"{datasets}: their embeddings are of {fact} {train[fact]} and {test[fact]}")
    x_train_nd, true_train_n = labelled(job.reference)
    x_nd, true_n = labelled(job.embedding)
    shared = np.isin(true_n, true_train_n)
    if {test["space"], train["space"]} != {COMMON}:
        reason = f"fitted to each dataset apart, so that it has no dimension of {train['dataset']}'s"
        scores = unscored(METRICS, reason)
    elif not len(true_n) or not len(true_train_n):
        scores = unscored(METRICS, "one of the datasets has no labelled cell")
    else:
        predicted_n = predictions(x_train_nd, true_train_n, x_nd, job.seed)
        predicted_n["knn"] = nearest_types(x_train_nd, true_train_n, x_nd)
        scores = unscored(METRICS, f"no cell is of a type that {train['dataset']} has")
        if shared.any():
            of_shared = {name: label_n[shared] for name, label_n in predicted_n.items()}
            scores |= classifier_scores(true_n[shared], of_shared, job.seed)
        scores |= lineages(true_n, predicted_n)
    protocol = (
        f"{PROTOCOL}; KNeighborsClassifier ({NEIGHBOURS} neighbours, Euclidean) of the embedding as it is; "
        f"lineages by Cell Ontology {load().version}, coarser terms from depth {LEAST_DEPTH} on"
    )
    split = (
        f"trained on {len(true_train_n)} cells of {train['dataset']}; left out: "
        f"{job.embedding.n_obs - len(true_n)} cells without a cell type and, but for lineages, {(~shared).sum()} "
        f"cells of {len(np.unique(true_n[~shared]))} types that it lacks"
    )
    return rows(job, "transfer", scores, protocol=protocol, split=split, n=int(shared.sum()))


def nearest_types(x_train_nd: np.ndarray, true_train_n: np.ndarray, x_test_nd: np.ndarray) -> np.ndarray:
    """Return the most frequent label among the `NEIGHBOURS` nearest training cells of each test cell.

    With fewer training cells all of them vote. For the parameters see `wced.benchmarks.probe.score.predictions`.
    """
    classifier = KNeighborsClassifier(min(NEIGHBOURS, len(x_train_nd)), algorithm="brute")
    return classifier.fit(x_train_nd, true_train_n).predict(x_test_nd)


def lineages(true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray]) -> dict[str, Score]:
    """Return how each classifier's predictions relate to the truth (`matches.judgement_scores`).

    Cells whose label or prediction is not in the Cell Ontology are left out; the scores' `n` counts the others.
    """
    ontology = load()
    terms = {*true_n, *np.concatenate(list(predicted_n.values()))}
    current = {term: ontology.current(term) for term in terms}
    true = pd.Series(true_n).map(current)
    scores = {}
    for name, label_n in predicted_n.items():
        predicted = pd.Series(label_n).map(current)
        inside_n = (true.notna() & predicted.notna()).to_numpy()
        if inside_n.any():
            judged = matches.judgement_scores(matches.pairs(true[inside_n], predicted[inside_n], ontology), ontology)
        else:
            outside = label_n[true.notna()]
            reason = (
                f"{min(outside)} is not in the Cell Ontology" if len(outside) else "no cell has a Cell Ontology term"
            )
            judged = unscored(LINEAGE, reason)
        scores |= {f"{kind}_{name}": value for kind, value in judged.items()}
    return scores

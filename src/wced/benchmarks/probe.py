"""Probe: what linear classifiers read of cell types from a frozen embedding, tested on groups that they never saw."""

import logging
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import version

import numpy as np
import pandas as pd

from wced.benchmarks import lcad
from wced.benchmarks.job import Job, Metric
from wced.benchmarks.label_scores import LabelScores
from wced.benchmarks.scores import CELL_TYPE, known, rows
from wced.config.benchmarks.probe import Probe
from wced.progress import progress
from wced.stats import Score, missing

logger = logging.getLogger(__name__)

TITLE = "Cell types by linear probes, on batches or donors held out"
CLASSIFIERS = {"lr": "logistic", "sgd": "SGD"}
"""Logistic regression, and a linear SVM by stochastic gradient descent (the classifier of the paper's Figure 5)."""
DISTANCES = ("lcad_errors", "lcad")
"""Distances in the Cell Ontology, each with the suffix of a classifier."""


def label_metrics(classifiers: Mapping[str, str]) -> tuple[Metric, ...]:
    """Return the metrics of classifiers' labels, each with the name of a classifier behind it.

    Parameters
    ----------
    classifiers
        Name and title of each; the first has the headline and the meanings.
    """
    kinds = (
        ("macro_f1", "F1", "F1: mean over cell types, so that rare ones count as much."),
        ("weighted_f1", "Weighted F1", "Weighted F1: each cell type counts by its cells."),
        ("accuracy", "Acc.", ""),
        (
            "lcad_errors",
            "LCAD",
            "LCAD: steps in the Cell Ontology from a wrong cell's true to its predicted type; lower is better.",
        ),
        ("lcad", "LCAD of all", "LCAD of all: the same over all cells, 0 for right ones."),
    )
    return tuple(
        Metric(
            f"{kind}_{name}",
            f"{title}, {classifiers[name]}",
            meaning if name == next(iter(classifiers)) else "",
            headline=kind == "macro_f1" and name == next(iter(classifiers)),
            higher_is_better=kind not in DISTANCES,
        )
        for kind, title, meaning in kinds
        for name in classifiers
    )


METRICS = label_metrics(CLASSIFIERS)
PROTOCOL = (
    f"scikit-learn {version('scikit-learn')} LogisticRegression (C = 1, at most 1,000 steps) and SGDClassifier (hinge "
    "loss, at most 100 passes) of features standardised by the training cells"
)
"""What is fitted."""


def score(job: Job) -> pd.DataFrame:
    """Cross-validate the classifiers on one embedding, by folds of whole batches or donors.

    Every cell is predicted once, by classifiers fitted on the cells of all groups but those of its fold (GroupKFold; of
    few groups each is a fold). Cells whose type no training cell of their fold has, such as those of types that one
    group alone has, cannot be predicted: they are fitted on elsewhere but not scored, and `split` counts them.

    Parameters
    ----------
    job
        The embedding's obs has `cell_type_ontology_term_id` and the column that the section groups by. Cells without a
        cell type or group are left out.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES over all predicted cells. Intervals resample cells and take the groups as given, so they
        say nothing of how much other batches or donors would differ.
    """
    section: Probe = job.section
    labels, groups = (job.embedding.obs[column].astype(str) for column in (CELL_TYPE, section.group))
    labelled, grouped = known(labels), known(groups)
    kept = labelled & grouped
    x_nd = np.asarray(job.embedding.X, dtype=np.float32)[kept]
    true_n, group_n = (column.to_numpy(dtype=str)[kept] for column in (labels, groups))
    left_out = (
        f"{(~labelled).sum()} cells without a cell type, {(labelled & ~grouped).sum()} of these with one without a "
        f"{section.group}"
    )
    n_groups = len(np.unique(group_n))
    if n_groups < 2:
        return table(job, missing_scores(f"the labelled cells have {n_groups} {section.group}"), left_out, 0)
    from sklearn.model_selection import GroupKFold

    folds = min(section.folds, n_groups)
    predicted_n = {name: np.empty_like(true_n) for name in CLASSIFIERS}
    scored = np.zeros(len(true_n), dtype=bool)
    held_out = GroupKFold(n_splits=folds).split(x_nd, groups=group_n)
    for train, test in progress(held_out, "probe", total=folds, unit="folds"):
        scored[test] = np.isin(true_n[test], true_n[train])
        for name, label_n in predictions(x_nd[train], true_n[train], x_nd[test], job.seed).items():
            predicted_n[name][test] = label_n
    split = f"{folds} folds of {n_groups} {section.group}; left out: {left_out}, {unpredictable(true_n, scored)}"
    chosen = {name: label_n[scored] for name, label_n in predicted_n.items()}
    return table(job, scores(true_n[scored], chosen, job.seed), split, int(scored.sum()))


def predictions(
    x_train_nd: np.ndarray, true_train_n: np.ndarray, x_test_nd: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Fit every classifier on the training cells, and return the labels that it gives the test cells.

    Parameters
    ----------
    x_train_nd, x_test_nd
        Embeddings, cells × dimensions.
    true_train_n
        Label of each training cell, text.
    seed
        Seed of the stochastic gradient descent.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(true_train_n)) == 1:
        return {name: np.full(len(x_test_nd), true_train_n[0]) for name in CLASSIFIERS}
    scaler = StandardScaler().fit(x_train_nd)
    fitted = {"lr": LogisticRegression(max_iter=1000), "sgd": SGDClassifier(max_iter=100, random_state=seed)}
    predicted = {}
    for name, classifier in fitted.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            classifier.fit(scaler.transform(x_train_nd), true_train_n)
        if caught:
            logger.warning("%s did not converge", type(classifier).__name__)
        predicted[name] = classifier.predict(scaler.transform(x_test_nd))
    return predicted


def scores(true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray], seed: int) -> dict[str, Score]:
    """Return every metric of the labels that the classifiers gave the cells, all of which can be predicted.

    Accuracy has Wilson's interval, F1 and LCAD have those of bootstraps over cells.
    """
    if not len(true_n):
        return missing_scores("no training cell is of any test cell's type")
    from wced.ontology import load

    of_labels = LabelScores(true_n, predicted_n, seed)
    found = {}
    for name in predicted_n:
        found[f"macro_f1_{name}"] = of_labels.f1(name, "macro")
        found[f"weighted_f1_{name}"] = of_labels.f1(name, "weighted")
        found[f"accuracy_{name}"] = of_labels.accuracy(name)
        distances = lcad.scores(true_n, predicted_n[name], load(), seed)
        found |= {f"{metric}_{name}": distances[metric] for metric in DISTANCES}
    return found


def missing_scores(reason: str, metrics: Iterable[Metric] = METRICS) -> dict[str, Score]:
    """Return every metric without a value."""
    return {metric.name: missing(reason) for metric in metrics}


def unpredictable(true_n: np.ndarray, scored: np.ndarray) -> str:
    """Say how many cells are not scored because no training cell is of their type."""
    return f"{(~scored).sum()} cells of {len(np.unique(true_n[~scored]))} types that no training cell of theirs has"


def table(job: Job, found: Mapping[str, Score], split: str, n: int) -> pd.DataFrame:
    """Return the rows of tables.SCORES."""
    return rows(job.embedding, found, run=job.run, task="probe", protocol=PROTOCOL, split=split, n=n, seed=job.seed)

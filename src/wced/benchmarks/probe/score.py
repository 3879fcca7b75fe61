"""Cross-validation of linear classifiers over whole batches or donors, and the scores of their labels."""

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from wced.benchmarks import lcad
from wced.benchmarks.job import Job, counted_warnings, rows, unscored
from wced.benchmarks.label_scores import label_scores
from wced.benchmarks.probe import CLASSIFIERS, DISTANCES, METRICS, Probe
from wced.contracts import CELL_TYPE, are_unknown
from wced.ontology import load
from wced.progress import progress
from wced.stats import Score

PROTOCOL = (
    f"scikit-learn {version('scikit-learn')} LogisticRegression (C = 1, at most 1,000 steps) and SGDClassifier (hinge "
    "loss, at most 100 passes) of features standardised by the training cells"
)
"""What is fitted."""


def score(job: Job) -> pd.DataFrame:
    """Cross-validate the classifiers on one embedding, by folds of whole batches or donors.

    Every cell is predicted once, by classifiers fitted on the cells of all groups but those of its fold (GroupKFold).
    Cells whose type no training cell of their fold has cannot be predicted: they train in other folds but are not
    scored, and `split` counts them. Intervals resample cells and take the groups as they are, so they do not show how
    much other batches or donors would differ. Cells without a cell type or group are left out.
    """
    section: Probe = job.section
    labels, groups = (job.embedding.obs[column].astype(str) for column in (CELL_TYPE, section.group))
    labelled, grouped = ~are_unknown(labels), ~are_unknown(groups)
    kept = labelled & grouped
    x_nd = np.asarray(job.embedding.X, dtype=np.float32)[kept]
    true_n, group_n = (column.to_numpy(dtype=str)[kept] for column in (labels, groups))
    split = (
        f"{(~labelled).sum()} cells without a cell type, {(labelled & ~grouped).sum()} of these with one without a "
        f"{section.group}"
    )
    n_groups, scored_n = len(np.unique(group_n)), np.zeros(len(true_n), dtype=bool)
    if n_groups < 2:
        scores = unscored(METRICS, f"the labelled cells have {n_groups} {section.group}")
    else:
        folds = min(section.folds, n_groups)
        predicted_n = {name: np.empty_like(true_n) for name in CLASSIFIERS}
        held_out = GroupKFold(n_splits=folds).split(x_nd, groups=group_n)
        for train, test in progress(held_out, "probe", total=folds, unit="folds"):
            scored_n[test] = np.isin(true_n[test], true_n[train])
            for name, label_n in predictions(x_nd[train], true_n[train], x_nd[test], job.seed).items():
                predicted_n[name][test] = label_n
        unseen = f"{(~scored_n).sum()} cells of {len(np.unique(true_n[~scored_n]))} types"
        split = f"{folds} folds of {n_groups} {section.group}; left out: {split}, {unseen} that no training cell of "
        split += "theirs has"
        scores = unscored(METRICS, "no training cell is of any test cell's type")
        if scored_n.any():
            predicted_n = {name: label_n[scored_n] for name, label_n in predicted_n.items()}
            scores = classifier_scores(true_n[scored_n], predicted_n, job.seed)
    return rows(job, "probe", scores, protocol=PROTOCOL, split=split, n=int(scored_n.sum()))


def predictions(
    x_train_nd: np.ndarray, true_train_n: np.ndarray, x_test_nd: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Fit every classifier on the training cells (embeddings, labels), and return the labels of the test cells."""
    if len(np.unique(true_train_n)) == 1:
        return {name: np.full(len(x_test_nd), true_train_n[0]) for name in CLASSIFIERS}
    scaler = StandardScaler().fit(x_train_nd)
    classifiers = {"lr": LogisticRegression(max_iter=1000), "sgd": SGDClassifier(max_iter=100, random_state=seed)}
    predicted_n = {}
    for name, classifier in classifiers.items():
        with counted_warnings():
            classifier.fit(scaler.transform(x_train_nd), true_train_n)
        predicted_n[name] = classifier.predict(scaler.transform(x_test_nd))
    return predicted_n


def classifier_scores(true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray], seed: int) -> dict[str, Score]:
    """Return every metric of the labels that the classifiers give the cells; there is at least one cell."""
    labels, scores = label_scores(true_n, predicted_n, seed), {}
    for name, label_n in predicted_n.items():
        distances = lcad.scores(true_n, label_n, load(), seed)
        scores |= {f"{kind}_{name}": labels[f"{kind}_{name}"] for kind in ("macro_f1", "weighted_f1", "accuracy")}
        scores |= {f"{metric}_{name}": distances[metric] for metric in DISTANCES}
    return scores

"""Transfer: what classifiers of cell types that learned from one dataset know of another, study to study."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.benchmarks import matches, probe
from wced.benchmarks.job import Job, Metric
from wced.benchmarks.scores import CELL_TYPE, known, rows
from wced.embedding.files import COMMON
from wced.errors import WcedError
from wced.ontology import load
from wced.stats import Score, missing

TITLE = "Cell types from one dataset to another, by linear probes and by neighbours"
CLASSIFIERS = {**probe.CLASSIFIERS, "knn": "neighbours"}
"""The probe's classifiers, and the majority among the nearest training cells."""
NEIGHBOURS = 15
"""Training cells that vote on a cell."""
LINEAGE = (
    (
        "accuracy_lineage_known",
        "Lineage known",
        "Lineage known: exact or a coarser term that tells something; over all labelled cells, those of types that the "
        "training dataset lacks among them.",
    ),
    (
        "accuracy_exact",
        "Exact",
        "Exact, coarser, finer (which the truth neither confirms nor denies) and wrong add up to 1.",
    ),
    ("accuracy_coarser", "Coarser", ""),
    ("finer_unverified", "Finer", ""),
    ("wrong", "Wrong", ""),
)
"""Scores of `matches.judgement_scores`, their titles and meanings."""
METRICS = (
    *probe.label_metrics(CLASSIFIERS),
    *(
        Metric(
            f"{kind}_{name}",
            f"{title}, {classifier}",
            meaning if name == "lr" else "",
            headline=kind == "accuracy_lineage_known" and name != "sgd",
            ranks=kind not in ("accuracy_coarser", "finer_unverified"),
            higher_is_better=kind != "wrong",
        )
        for kind, title, meaning in LINEAGE
        for name, classifier in CLASSIFIERS.items()
    ),
)


def score(job: Job) -> pd.DataFrame:
    """Fit classifiers on all labelled cells of one dataset, and score them on those of another.

    The probe's linear classifiers read features that the training dataset standardises; neighbours are the `NEIGHBOURS`
    nearest training cells in the embedding as it is, and their most frequent type is predicted (of several the one with
    the smallest id). All know all types of the training dataset, those too that the other lacks.

    F1, accuracy and LCAD are of the cells whose type the training dataset has, as others cannot be predicted. How a
    prediction relates to the truth (`matches.judged`) is told of all labelled cells: a type that the training dataset
    lacks may still be given a coarser name.

    Parameters
    ----------
    job
        With `reference`, the same model's embedding of the dataset to train on. Both have
        `cell_type_ontology_term_id`; cells without one are left out.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES of the dataset that is tested on, with intervals as in the probe and Wilson's. Models
        that embed each dataset in a space of its own have none: one dataset's first dimension is not the other's.

    Raises
    ------
    WcedError
        If the two embeddings are of different models or widths.
    """
    test, train = job.embedding.uns["wced"], job.reference.uns["wced"]
    for fact in ("model", "width"):
        if test[fact] != train[fact]:
            raise WcedError(
                f"transfer from {train['dataset']} to {test['dataset']}: their embeddings are of {fact} {train[fact]} "
                f"and {test[fact]}"
            )
    x_train_nd, true_train_n, _ = _labelled(job.reference)
    x_nd, true_n, unlabelled = _labelled(job.embedding)
    shared = np.isin(true_n, true_train_n)
    split = (
        f"trained on {len(true_train_n)} cells of {train['dataset']}; left out: {unlabelled} cells without a cell "
        f"type and, but for lineages, {(~shared).sum()} cells of {len(np.unique(true_n[~shared]))} types that it lacks"
    )
    if {test["space"], train["space"]} != {COMMON}:
        reason = f"fitted to each dataset apart, so that it has no dimension of {train['dataset']}'s"
        scores = probe.missing_scores(reason, METRICS)
    elif not len(true_n) or not len(true_train_n):
        scores = probe.missing_scores("one of the datasets has no labelled cell", METRICS)
    else:
        predicted_n = probe.predictions(x_train_nd, true_train_n, x_nd, job.seed)
        predicted_n["knn"] = nearest_types(x_train_nd, true_train_n, x_nd)
        scores = probe.missing_scores(f"no cell is of a type that {train['dataset']} has", METRICS)
        if shared.any():
            scores |= probe.scores(true_n[shared], {name: p_n[shared] for name, p_n in predicted_n.items()}, job.seed)
        scores |= lineages(true_n, predicted_n)
    return rows(
        job.embedding,
        scores,
        run=job.run,
        task="transfer",
        protocol=(
            f"{probe.PROTOCOL}; KNeighborsClassifier ({NEIGHBOURS} neighbours, Euclidean) of the embedding as it is; "
            f"lineages by Cell Ontology {load().version}, coarser terms from depth {matches.LEAST_DEPTH} on"
        ),
        split=split,
        n=int(shared.sum()),
        seed=job.seed,
    )


def nearest_types(x_train_nd: np.ndarray, true_train_n: np.ndarray, x_test_nd: np.ndarray) -> np.ndarray:
    """Return the most frequent label among the `NEIGHBOURS` nearest training cells of each test cell.

    Parameters
    ----------
    x_train_nd, x_test_nd
        Embeddings, cells × dimensions.
    true_train_n
        Label of each training cell, text. Where there are fewer cells than neighbours, all of them vote.
    """
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(min(NEIGHBOURS, len(x_train_nd)), algorithm="brute")
    return classifier.fit(x_train_nd, true_train_n).predict(x_test_nd)


def lineages(true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray]) -> dict[str, Score]:
    """Return what the predictions are by what the truth says (`matches.judgement_scores`), for each classifier.

    Cells whose label or prediction is not in the Cell Ontology are left out; the scores' `n` counts the others.
    """
    ontology = load()
    current = {term: ontology.current(term) for term in {*true_n, *np.concatenate(list(predicted_n.values()))}}
    scored = np.array([current[term] is not None for term in true_n])
    scores = {}
    for name, label_n in predicted_n.items():
        inside_n = scored & np.array([current[term] is not None for term in label_n])
        if not inside_n.any():
            outside = f"{min(label_n[scored])} is not in the Cell Ontology" if scored.any() else ""
            reason = outside or "no cell has a Cell Ontology term"
            found = dict.fromkeys((kind for kind, *_ in LINEAGE), missing(reason))
        else:
            pairs = matches.pairs([current[term] for term in true_n[inside_n]], label_n[inside_n], ontology)
            found = matches.judgement_scores(pairs, ontology)
        scores |= {f"{kind}_{name}": value for kind, value in found.items()}
    return scores


def _labelled(embedding: AnnData) -> tuple[np.ndarray, np.ndarray, int]:
    """Return values and cell types of the cells that have one, and the number of the others."""
    labelled = known(embedding.obs[CELL_TYPE])
    x_nd = np.asarray(embedding.X, dtype=np.float32)[labelled]
    return x_nd, embedding.obs[CELL_TYPE].astype(str).to_numpy(dtype=str)[labelled], int((~labelled).sum())

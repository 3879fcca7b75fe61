"""CZI benchmark: the tasks of cz-benchmarks on one embedding, with its own classes, folds and settings."""

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pandas as pd

from wced.benchmarks import scib
from wced.benchmarks.job import Job, Metric
from wced.benchmarks.scores import CELL_TYPE, known, rows
from wced.config.benchmarks.czi import Czi
from wced.stats import Score, bootstrap_weights, missing, standard_errors

logger = logging.getLogger(__name__)

TITLE = "CZI benchmark"
METRICS = (
    Metric("macro_f1", "F1", "F1: mean over cell types, so that rare ones count as much.", headline=True),
    Metric("macro_f1_lr", "F1, logistic", headline=True),
    Metric("macro_f1_knn", "F1, neighbours"),
    Metric("macro_f1_rf", "F1, forest"),
    Metric("accuracy", "Accuracy", "The columns without a classifier's name are the mean of the three."),
    Metric("accuracy_lr", "Acc., logistic"),
    Metric("accuracy_knn", "Acc., neighbours"),
    Metric("accuracy_rf", "Acc., forest"),
    Metric("ari", "ARI", "ARI and NMI: agreement of clusters with cell types."),
    Metric("nmi", "NMI"),
    Metric("silhouette", "Silhouette", "Silhouette: how compact cell types are, scaled to 0–1."),
    Metric("avg_bio", "AvgBio", "AvgBio: mean of the three before it.", headline=True),
    Metric("batch_entropy", "Batch entropy", "Batch entropy: how mixed the batches of a cell's neighbours are, 0–1."),
    Metric("batch_silhouette", "Batch silh.", "Batch silhouette: 1 where batches mix within cell types."),
)
CLASSIFIERS = ("lr", "knn", "rf")
"""Logistic regression, 5 nearest neighbours and random forest."""
PREDICTION = {"macro_f1": "f1", "accuracy": "accuracy"}
"""Our names of the scores of label prediction."""
AVG_BIO = ("ari", "nmi", "silhouette")
"""Parts of AvgBio (BMFM-RNA paper, Figure 4)."""
BATCH = ("batch_entropy", "batch_silhouette")
"""Scores of batch integration."""
CLUSTERED = 15
"""Nearest neighbours of the graph that cz-benchmarks clusters (scanpy's default)."""
MIXED = 200
"""Nearest neighbours over which cz-benchmarks takes the entropy of batches."""


def score(job: Job) -> pd.DataFrame:
    """Score one embedding by four tasks of cz-benchmarks: see `label_prediction` and `structure`.

    A mean over tissues is one over datasets, which `benchmarks.comparison` makes.

    Parameters
    ----------
    job
        The embedding's obs has `cell_type_ontology_term_id` and `batch`. Unlabelled cells are left out.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES.
    """
    return pd.concat([label_prediction(job), structure(job)], ignore_index=True)


def label_prediction(job: Job) -> pd.DataFrame:
    """Return macro F1 and accuracy of each classifier (`macro_f1_lr`) and of all together (`macro_f1`).

    Cells of classes under the section's `min_class_size` are left out, as cz-benchmarks has it. A score is the mean of
    the folds with a t interval. The folds share training cells, so the interval is narrower than one of repeated
    studies would be.
    """
    section: Czi = job.section
    x_nd, labels, _, unlabelled = _labelled(job)
    sizes = labels.value_counts()
    common = sizes[sizes >= section.min_class_size]
    scored = labels.isin(common.index).to_numpy()
    reasons = dict.fromkeys(PREDICTION, "")
    if len(common) < 2:
        reasons = dict.fromkeys(PREDICTION, f"{len(common)} classes of {section.min_class_size} cells or more")
    elif common.min() < section.folds:
        reasons = dict.fromkeys(PREDICTION, f"a class has fewer cells than there are folds ({section.folds})")
    elif len(common) == 2:
        # cz-benchmarks turns to the F1 of one class then, which is another thing than the mean over classes.
        reasons["macro_f1"] = "with two classes cz-benchmarks gives no macro F1"
    results = None if all(reasons.values()) else _folds(x_nd[scored], labels[scored], section)
    found = {}
    for metric, theirs in PREDICTION.items():
        for classifier in (None, *CLASSIFIERS):
            name = metric if classifier is None else f"{metric}_{classifier}"
            if reasons[metric]:
                found[name] = missing(reasons[metric])
                continue
            chosen = results if classifier is None else results[results["classifier"] == classifier]
            found[name] = _interval(chosen.groupby("split")[theirs].mean().to_numpy())
    return rows(
        job.embedding,
        found,
        run=job.run,
        task="czi",
        protocol=(
            f"{_package()} label prediction: logistic regression (lr, at most 100 steps), nearest neighbours (knn), "
            "both on features of unit variance; random forest (rf); without suffix the mean"
        ),
        split=(
            f"{section.folds} stratified folds; left out: {unlabelled}, {(~scored).sum()} cells of "
            f"{len(sizes) - len(common)} classes under {section.min_class_size} cells"
        ),
        n=int(scored.sum()),
        seed=section.seed,
    )


def structure(job: Job) -> pd.DataFrame:
    """Return the scores of clustering, embedding and batch integration, and AvgBio = (ARI + NMI + silhouette) / 3.

    The values are those of cz-benchmarks; clustering and embedding have intervals as in zero-shot integration, batch
    integration has none, as cz-benchmarks gives no values of single cells.
    """
    x_nd, labels, batch_n, unlabelled = _labelled(job)
    seed = job.section.seed
    with _counted_warnings():
        found = _clusters(x_nd, labels, seed) | _batches(x_nd, labels, batch_n, seed)
    return rows(
        job.embedding,
        found,
        run=job.run,
        task="czi",
        protocol=(
            f"{_package()} clustering (Leiden of igraph, resolution 1, 2 iterations, {CLUSTERED} neighbours), "
            f"embedding (silhouette), batch integration (entropy of {MIXED} neighbours by hnswlib, silhouette)"
        ),
        split=f"all cells but {unlabelled}",
        n=len(x_nd),
        seed=seed,
    )


def _labelled(job: Job) -> tuple[np.ndarray, pd.Series, np.ndarray, str]:
    """Return values, labels and batches of the cells that have a cell type, and how many have none."""
    labels = job.embedding.obs[CELL_TYPE].astype(str)
    labelled = known(labels)
    x_nd = np.asarray(job.embedding.X, dtype=np.float32)[labelled]
    batch_n = job.embedding.obs["batch"].astype(str).to_numpy(dtype=str)[labelled]
    return x_nd, labels[labelled], batch_n, f"{(~labelled).sum()} cells without a cell type"


def _package() -> str:
    return f"cz-benchmarks {version('cz-benchmarks')}"


def _folds(x_nd: np.ndarray, labels: pd.Series, section: Czi) -> pd.DataFrame:
    """Return the score of every classifier in every fold."""
    from czbenchmarks.tasks.label_prediction import MetadataLabelPredictionTask, MetadataLabelPredictionTaskInput

    task_input = MetadataLabelPredictionTaskInput(
        labels=labels, n_folds=section.folds, min_class_size=section.min_class_size
    )
    task = MetadataLabelPredictionTask(random_seed=section.seed)
    with _counted_warnings():
        # `run` gives the means of these only; a test holds that they are the same.
        return pd.DataFrame(task._run_task(x_nd, task_input).results)


def _interval(fold_scores: np.ndarray) -> Score:
    from scipy.stats import sem

    folds = len(fold_scores)
    return standard_errors(fold_scores.mean(), sem(fold_scores), f"t over {folds} folds", freedom=folds - 1)


def _clusters(x_nd: np.ndarray, labels: pd.Series, seed: int) -> dict[str, Score]:
    """Return the scores of clustering and embedding, and AvgBio."""
    reason = ""
    if len(x_nd) <= CLUSTERED:
        reason = f"{len(x_nd)} labelled cells are too few for {CLUSTERED} neighbours"
    elif len(labels.unique()) == 1:
        reason = f"all cells are of one type, {labels.iloc[0]}"
    if reason:
        return dict.fromkeys((*AVG_BIO, "avg_bio"), missing(reason))
    from czbenchmarks.tasks.clustering import ClusteringTask, ClusteringTaskInput
    from czbenchmarks.tasks.embedding import EmbeddingTask, EmbeddingTaskInput

    task = ClusteringTask(random_seed=seed)
    task_input = ClusteringTaskInput(obs=pd.DataFrame(index=labels.index.astype(str)), input_labels=labels)
    clustering = task._run_task(x_nd, task_input)
    ari, nmi = (result.value for result in task._compute_metrics(task_input, clustering))
    (silhouette,) = EmbeddingTask(random_seed=seed).run(x_nd, EmbeddingTaskInput(input_labels=labels))
    cluster_n = pd.factorize(np.asarray(clustering.predicted_labels), sort=True)[0]
    drawn = scib.bio(x_nd, labels.to_numpy(dtype=str), cluster_n[None, None], bootstrap_weights(len(x_nd), seed))
    parts = {
        "ari": replace(drawn["ari"], value_c=np.array([ari])),
        "nmi": replace(drawn["nmi"], value_c=np.array([nmi])),
        "silhouette": replace(drawn["asw_label"], value_c=np.array([silhouette.value])),
    }
    parts["avg_bio"] = scib.weighted(parts, dict.fromkeys(AVG_BIO, 1 / len(AVG_BIO)))
    return {name: part.score for name, part in parts.items()}


def _batches(x_nd: np.ndarray, labels: pd.Series, batch_n: np.ndarray, seed: int) -> dict[str, Score]:
    """Return the scores of batch integration."""
    if len(np.unique(batch_n)) < 2:
        return dict.fromkeys(BATCH, missing("the dataset has one batch"))
    if len(x_nd) <= MIXED:
        return dict.fromkeys(BATCH, missing(f"{len(x_nd)} labelled cells are too few for {MIXED} neighbours"))
    from czbenchmarks.metrics import metrics_registry
    from czbenchmarks.metrics.types import MetricType

    # As BatchIntegrationTask calls them (a test holds that), but apart: it fails where only the entropy is defined.
    with _one_thread():
        entropy = metrics_registry.compute(MetricType.ENTROPY_PER_CELL, X=x_nd, labels=batch_n, random_seed=seed)
    scores = {"batch_entropy": Score(float(entropy))}
    # scib-metrics passes over a cell type of one batch, and over one where each cell is a batch of its own.
    batches = pd.Series(batch_n).groupby(labels.to_numpy()).agg(["nunique", "size"])
    if batches["nunique"].between(2, batches["size"] - 1).any():
        width = metrics_registry.compute(MetricType.BATCH_SILHOUETTE, X=x_nd, labels=labels, batch=batch_n)
        return scores | {"batch_silhouette": Score(float(width))}
    return scores | {"batch_silhouette": missing("no cell type has cells of several batches")}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let hnswlib build its graphs with one thread.

    cz-benchmarks leaves the number to hnswlib, which takes all cores; then the graph, and with it the fourth digit of
    the entropy, depends on which thread is first.
    """
    import hnswlib

    index = hnswlib.Index

    class OneThread(index):
        def init_index(self, *args: object, **settings: object) -> None:
            super().init_index(*args, **settings)
            self.set_num_threads(1)

    hnswlib.Index = OneThread
    try:
        yield
    finally:
        hnswlib.Index = index


@contextmanager
def _counted_warnings() -> Iterator[None]:
    """Log how often each kind of warning was given, instead of each warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for name, times in Counter(warning.category.__name__ for warning in caught).items():
        logger.warning("%s was given %d times", name, times)

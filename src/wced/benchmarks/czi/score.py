"""The scores of cz-benchmarks: label prediction, and clustering, embedding and batch integration."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version

import hnswlib
import numpy as np
import pandas as pd
from czbenchmarks.metrics import metrics_registry
from czbenchmarks.metrics.types import MetricType
from czbenchmarks.tasks.clustering import ClusteringTask, ClusteringTaskInput
from czbenchmarks.tasks.embedding import EmbeddingTask, EmbeddingTaskInput
from czbenchmarks.tasks.label_prediction import MetadataLabelPredictionTask, MetadataLabelPredictionTaskInput

from wced.benchmarks import scib
from wced.benchmarks.czi import Czi
from wced.benchmarks.job import Job, counted_warnings, rows
from wced.benchmarks.labels import labelled
from wced.stats import Score, bootstrap_weights, missing, standard_errors

CLASSIFIERS = ("lr", "knn", "rf")
"""Logistic regression, 5 nearest neighbours and random forest."""
AVG_BIO = ("ari", "nmi", "silhouette")
"""Parts of AvgBio (BMFM-RNA paper, Figure 4)."""
BATCH = ("batch_entropy", "batch_silhouette")
"""Scores of batch integration."""
CLUSTERED = 15
"""Nearest neighbours of the graph that cz-benchmarks clusters (scanpy's default)."""
MIXED = 200
"""Nearest neighbours over which cz-benchmarks takes the entropy of batches."""
PACKAGE = f"cz-benchmarks {version('cz-benchmarks')}"


def score(job: Job) -> pd.DataFrame:
    """Score one embedding by four tasks of cz-benchmarks: see `label_prediction` and `structure`.

    The embedding's obs has `cell_type_ontology_term_id` and `batch`; unlabelled cells are left out. A mean over tissues
    is one over datasets, which `wced.benchmarks.comparison` makes.
    """
    return pd.concat([label_prediction(job), structure(job)], ignore_index=True)


def label_prediction(job: Job) -> pd.DataFrame:
    """Return macro F1 and accuracy of each classifier (`macro_f1_lr`) and of all together (`macro_f1`).

    Classes under the section's `min_class_size` are left out, as in cz-benchmarks. A score is the mean of the folds
    with a t interval, narrower than one of repeated studies would be, as the folds share training cells.
    """
    section: Czi = job.section
    x_nd, type_n = labelled(job.embedding)
    labels = pd.Series(type_n)
    sizes = labels.value_counts()
    common = sizes[sizes >= section.min_class_size]
    scored = labels.isin(common.index).to_numpy()
    reasons = {"macro_f1": "", "accuracy": ""}
    if len(common) < 2:
        reasons = dict.fromkeys(reasons, f"{len(common)} classes of {section.min_class_size} cells or more")
    elif common.min() < section.folds:
        reasons = dict.fromkeys(reasons, f"a class has fewer cells than there are folds ({section.folds})")
    elif len(common) == 2:
        # cz-benchmarks then takes the F1 of one class, which is not the mean over classes.
        reasons["macro_f1"] = "with two classes cz-benchmarks gives no macro F1"
    if not all(reasons.values()):
        task = MetadataLabelPredictionTask(random_seed=section.seed)
        settings = {"n_folds": section.folds, "min_class_size": section.min_class_size}
        task_input = MetadataLabelPredictionTaskInput(labels=labels[scored], **settings)
        with counted_warnings():
            # `run` returns the means of these only; a test checks that they are the same.
            folds = pd.DataFrame(task._run_task(x_nd[scored], task_input).results)
    scores = {}
    for metric, reason in reasons.items():
        for classifier in (None, *CLASSIFIERS):
            name = metric if classifier is None else f"{metric}_{classifier}"
            if reason:
                scores[name] = missing(reason)
                continue
            part = folds if classifier is None else folds[folds["classifier"] == classifier]
            value_f = part.groupby("split")[metric.removeprefix("macro_")].mean()
            method = f"t over {section.folds} folds"
            scores[name] = standard_errors(value_f.mean(), value_f.sem(), method, freedom=section.folds - 1)
    protocol = (
        f"{PACKAGE} label prediction: logistic regression (lr, at most 100 steps), nearest neighbours (knn), "
        "both on features of unit variance; random forest (rf); without suffix the mean"
    )
    split = (
        f"{section.folds} stratified folds; left out: {job.embedding.n_obs - len(x_nd)} cells without a cell type, "
        f"{(~scored).sum()} cells of {len(sizes) - len(common)} classes under {section.min_class_size} cells"
    )
    return rows(job, "czi", scores, protocol=protocol, split=split, n=int(scored.sum()), seed=section.seed)


def structure(job: Job) -> pd.DataFrame:
    """Return the scores of clustering, embedding and batch integration, and AvgBio = (ARI + NMI + silhouette) / 3.

    The values are those of cz-benchmarks. Clustering and embedding have intervals as in zero-shot integration; batch
    integration has none, as cz-benchmarks returns no values of single cells.
    """
    x_nd, type_n, batch_n = labelled(job.embedding, "batch")
    seed = job.section.seed
    with counted_warnings():
        scores = _clusters(x_nd, type_n, seed) | _batches(x_nd, type_n, batch_n, seed)
    protocol = (
        f"{PACKAGE} clustering (Leiden of igraph, resolution 1, 2 iterations, {CLUSTERED} neighbours), "
        f"embedding (silhouette), batch integration (entropy of {MIXED} neighbours by hnswlib, silhouette)"
    )
    split = f"all cells but {job.embedding.n_obs - len(x_nd)} cells without a cell type"
    return rows(job, "czi", scores, protocol=protocol, split=split, n=len(x_nd), seed=seed)


def _clusters(x_nd: np.ndarray, type_n: np.ndarray, seed: int) -> dict[str, Score]:
    """Return the scores of clustering and embedding, and AvgBio."""
    reason = ""
    if len(x_nd) <= CLUSTERED:
        reason = f"{len(x_nd)} labelled cells are too few for {CLUSTERED} neighbours"
    elif len(np.unique(type_n)) == 1:
        reason = f"all cells are of one type, {type_n[0]}"
    if reason:
        return dict.fromkeys((*AVG_BIO, "avg_bio"), missing(reason))
    labels = pd.Series(type_n, index=np.arange(len(type_n)).astype(str))
    task = ClusteringTask(random_seed=seed)
    task_input = ClusteringTaskInput(obs=pd.DataFrame(index=labels.index), input_labels=labels)
    clustering = task._run_task(x_nd, task_input)
    ari, nmi = (result.value for result in task._compute_metrics(task_input, clustering))
    (silhouette,) = EmbeddingTask(random_seed=seed).run(x_nd, EmbeddingTaskInput(input_labels=labels))
    cluster_n = pd.factorize(np.asarray(clustering.predicted_labels), sort=True)[0]
    sampled = scib.bio(x_nd, type_n, cluster_n[None, None], bootstrap_weights(len(x_nd), seed))
    parts = {
        "ari": replace(sampled["ari"], value_c=np.array([ari])),
        "nmi": replace(sampled["nmi"], value_c=np.array([nmi])),
        "silhouette": replace(sampled["asw_label"], value_c=np.array([silhouette.value])),
    }
    parts["avg_bio"] = scib.mean(parts, AVG_BIO)
    return {name: part.score for name, part in parts.items()}


def _batches(x_nd: np.ndarray, type_n: np.ndarray, batch_n: np.ndarray, seed: int) -> dict[str, Score]:
    """Return the scores of batch integration."""
    if len(np.unique(batch_n)) < 2:
        return dict.fromkeys(BATCH, missing("the dataset has one batch"))
    if len(x_nd) <= MIXED:
        return dict.fromkeys(BATCH, missing(f"{len(x_nd)} labelled cells are too few for {MIXED} neighbours"))
    # As BatchIntegrationTask calls them (a test checks that), but apart: it fails where only the entropy is defined.
    with _one_thread():
        entropy = metrics_registry.compute(MetricType.ENTROPY_PER_CELL, X=x_nd, labels=batch_n, random_seed=seed)
    scores = {"batch_entropy": Score(float(entropy))}
    # scib-metrics skips a cell type of one batch, and one in which each cell is a batch of its own.
    batches = pd.Series(batch_n).groupby(type_n).agg(["nunique", "size"])
    if batches["nunique"].between(2, batches["size"] - 1).any():
        width = metrics_registry.compute(MetricType.BATCH_SILHOUETTE, X=x_nd, labels=type_n, batch=batch_n)
        return scores | {"batch_silhouette": Score(float(width))}
    return scores | {"batch_silhouette": missing("no cell type has cells of several batches")}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let hnswlib build its graphs with one thread.

    cz-benchmarks leaves the number to hnswlib, which takes all cores; then the graph, and with it the fourth digit of
    the entropy, depends on which thread is first.
    """
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

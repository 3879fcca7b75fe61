"""Zero-shot batch integration: whether cells of a type lie together and batches mix, without any fine-tuning."""

from importlib.metadata import version

import numpy as np
import pandas as pd

from wced.benchmarks import scib
from wced.benchmarks.job import Job, Metric
from wced.benchmarks.resampling import cell_weights
from wced.benchmarks.scores import CELL_TYPE, known, rows

TITLE = "Zero-shot batch integration"
METRICS = (
    Metric("nmi", "NMI", "NMI and ARI: agreement of clusters with cell types."),
    Metric("ari", "ARI"),
    Metric("asw_label", "ASW label", "ASW label: how compact cell types are (silhouette, scaled to 0–1)."),
    Metric("avg_bio", "AvgBio", "AvgBio: mean of the three before it.", headline=True),
    Metric(
        "graph_connectivity",
        "Graph conn.",
        "Graph connectivity: share of a cell type's cells in one piece of the neighbour graph.",
    ),
    Metric("asw_batch", "ASW batch", "ASW batch: 1 where batches mix within cell types, 0 where they part."),
    Metric("avg_batch", "AvgBatch", "AvgBatch: mean of the two before it.", headline=True),
    Metric("overall", "Overall", "Overall: 0.6 AvgBio + 0.4 AvgBatch.", headline=True),
)
BIO_WEIGHT = 0.6
"""Weight of AvgBio in the overall score (scIB)."""


def score(job: Job) -> pd.DataFrame:
    """Score one embedding by scib-metrics.

    AvgBio = (NMI + ARI + ASW label) / 3, AvgBatch = (graph connectivity + ASW batch) / 2,
    overall = 0.6 AvgBio + 0.4 AvgBatch (scIB, Luecken et al. 2022; BMFM-RNA paper, section 2.5).

    Parameters
    ----------
    job
        With `neighbours`. The embedding's obs has `batch` and `cell_type_ontology_term_id`; unlabelled cells are left
        out.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES; a metric that cannot be computed is empty and says why. Intervals are of resampled
        cells, the same ones for all metrics, and of the seeds of the clustering (`resampling.interval`). What is made
        of all cells together (the graph, each seed's best clustering, each cell's silhouette) is not made again, so
        they say how much other cells of the same studies or other seeds of the clustering would change a score, not
        how much another study or another training would.
    """
    labelled = known(job.embedding.obs[CELL_TYPE])
    x_nd = np.asarray(job.embedding.X, dtype=np.float32)[labelled]
    label_n, batch_n = (
        job.embedding.obs[column].astype(str).to_numpy(dtype=str)[labelled] for column in (CELL_TYPE, "batch")
    )
    if job.neighbours.reason:
        parts = dict.fromkeys((*scib.BIO, *scib.BATCH), scib.Part(reason=job.neighbours.reason))
    else:
        weight_sn = cell_weights(len(x_nd), job.seed)
        parts = scib.bio(x_nd, label_n, job.neighbours.clusters_crn, weight_sn)
        parts |= scib.batch(x_nd, label_n, batch_n, job.neighbours, weight_sn)
    parts["avg_bio"] = scib.weighted(parts, dict.fromkeys(scib.BIO, 1 / len(scib.BIO)))
    parts["avg_batch"] = scib.weighted(parts, dict.fromkeys(scib.BATCH, 1 / len(scib.BATCH)))
    parts["overall"] = scib.weighted(parts, {"avg_bio": BIO_WEIGHT, "avg_batch": 1 - BIO_WEIGHT})
    return rows(
        job.embedding,
        {metric.name: parts[metric.name].score for metric in METRICS},
        run=job.run,
        task="zero_shot_integration",
        protocol=(
            f"scib-metrics {version('scib-metrics')}; {scib.clustering_words(job.neighbours.seed_c)}; exact graph of "
            f"{job.neighbours.count} neighbours among the labelled cells; Euclidean distances"
        ),
        split=f"all cells but {(~labelled).sum()} without a cell type",
        n=len(x_nd),
        seed=job.seed,
    )

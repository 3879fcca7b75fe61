"""The metrics of scIB, and the purity of neighbours."""

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pandas as pd

from wced.benchmarks import scib
from wced.benchmarks.job import Job, rows
from wced.benchmarks.labels import labelled
from wced.benchmarks.neighbours import Neighbours, nearest_of_other_groups
from wced.benchmarks.task import OTHERS
from wced.benchmarks.zero_shot_integration import METRICS
from wced.stats import bootstrap_weights

BIO_WEIGHT = 0.6
"""Weight of AvgBio in the overall score (scIB)."""
PURITY = ("neighbour_purity", "neighbour_purity_macro", "neighbour_purity_across_batches")
"""Scores of the nearest cells themselves, which need no clustering."""


def score(job: Job) -> pd.DataFrame:
    """Score one embedding by the metrics of scIB, as scib-metrics defines them, and by the purity of neighbours.

    AvgBio = (NMI + ARI + ASW label) / 3, AvgBatch = (graph connectivity + ASW batch) / 2,
    overall = 0.6 AvgBio + 0.4 AvgBatch (scIB, Luecken et al. 2022; BMFM-RNA paper, section 2.5).

    Intervals are of resampled cells, the same ones for all metrics, and of the seeds of the clustering
    (`stats.over_cells`), while the graph, each seed's best clustering and each cell's silhouette stay. So they show how
    much other cells of the same studies or other seeds of the clustering would change a score, not how much another
    study or another training would. Unlabelled cells are left out.
    """
    x_nd, label_n, batch_n = labelled(job.embedding, "batch")
    if job.neighbours.reason:
        parts = dict.fromkeys((*scib.BIO, *scib.BATCH, *PURITY), scib.Part(reason=job.neighbours.reason))
    else:
        weight_sn = bootstrap_weights(len(x_nd), job.seed)
        parts = scib.bio(x_nd, label_n, job.neighbours.clusters_crn, weight_sn)
        parts |= scib.batch(x_nd, label_n, batch_n, job.neighbours, weight_sn)
        parts |= purity(x_nd, label_n, batch_n, job.neighbours, weight_sn)
    parts["avg_bio"], parts["avg_batch"] = scib.mean(parts, scib.BIO), scib.mean(parts, scib.BATCH)
    parts["overall"] = scib.weighted(parts, {"avg_bio": BIO_WEIGHT, "avg_batch": 1 - BIO_WEIGHT})
    scores = {metric.name: parts[metric.name].score for metric in METRICS}
    protocol = (
        f"as scib-metrics {version('scib-metrics')}; {scib.clustering_words(job.neighbours.seed_c)}; exact graph "
        f"of {job.neighbours.count} neighbours among the labelled cells; Euclidean distances; purity of {OTHERS} "
        "other cells"
    )
    split = f"all cells but {job.embedding.n_obs - len(x_nd)} without a cell type"
    return rows(job, "zero_shot_integration", scores, protocol=protocol, split=split, n=len(x_nd))


def purity(
    x_nd: np.ndarray, label_n: np.ndarray, batch_n: np.ndarray, neighbours: Neighbours, weight_sn: np.ndarray
) -> dict[str, scib.Part]:
    """Return the share of each cell's `OTHERS` nearest other cells that have its type, as the three means of `PURITY`.

    The means are over all cells, over cell types, and, with the neighbours taken from other batches than the cell's,
    over the cells whose type another batch has.
    """
    code_n, labels = pd.factorize(label_n, sort=True)
    if len(labels) == 1:
        return dict.fromkeys(PURITY, scib.Part(reason=f"all cells are of one type, {labels[0]}"))
    if len(x_nd) <= OTHERS:
        return dict.fromkeys(PURITY, scib.Part(reason=f"{len(x_nd)} labelled cells are too few for {OTHERS} others"))
    pure_n = _pure_shares(code_n, neighbours.indices_nk[:, :OTHERS])
    means = [scib.mean_of_cells(pure_n, group_n, weight_sn) for group_n in (np.zeros_like(code_n), code_n)]
    return dict(zip(PURITY, [*means, _across_batches(x_nd, code_n, batch_n, weight_sn)], strict=True))


def _across_batches(x_nd: np.ndarray, code_n: np.ndarray, batch_n: np.ndarray, weight_sn: np.ndarray) -> scib.Part:
    sizes = pd.Series(batch_n).value_counts()
    if len(sizes) == 1:
        return scib.Part(reason="the dataset has one batch")
    others = len(x_nd) - sizes.iloc[0]
    if others < OTHERS:
        return scib.Part(reason=f"all batches but {sizes.index[0]} have {others} labelled cells together")
    shared_n = (pd.Series(batch_n).groupby(code_n).transform("nunique") > 1).to_numpy()
    if not shared_n.any():
        return scib.Part(reason="no cell type has cells of several batches")
    pure_n = _pure_shares(code_n, nearest_of_other_groups(x_nd, batch_n, OTHERS))
    # A cell whose type no other batch has cannot have a pure neighbour there, whatever the embedding.
    return replace(scib.mean_of_cells(pure_n, np.where(shared_n, 0, -1), weight_sn), n=int(shared_n.sum()))


def _pure_shares(code_n: np.ndarray, indices_nk: np.ndarray) -> np.ndarray:
    return (code_n[indices_nk] == code_n[:, None]).mean(axis=1)

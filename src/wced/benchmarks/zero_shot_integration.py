"""Zero-shot batch integration: whether cells of a type lie together and batches mix, without any fine-tuning."""

from importlib.metadata import version

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.benchmarks.scores import CELL_TYPE, Score, known, missing, rows
from wced.config.benchmarks import Integration

TASK = "zero_shot_integration"
BIO = ("nmi", "ari", "asw_label")
"""Parts of AvgBio: how well cell types are kept apart."""
BATCH = ("graph_connectivity", "asw_batch")
"""Parts of AvgBatch: how well batches mix."""
BIO_WEIGHT = 0.6
"""Weight of AvgBio in the overall score (scIB)."""


def score(embedding: AnnData, section: Integration, *, run: str, seed: int) -> pd.DataFrame:
    """Score one embedding by scib-metrics.

    AvgBio = (NMI + ARI + ASW label) / 3, AvgBatch = (graph connectivity + ASW batch) / 2,
    overall = 0.6 AvgBio + 0.4 AvgBatch (scIB, Luecken et al. 2022; BMFM-RNA paper, section 2.5).

    Parameters
    ----------
    embedding
        Cells × dimensions with obs columns `batch` and `cell_type_ontology_term_id`. Unlabelled cells are left out.
    section
        Config of the task.
    run
        Name of the run.
    seed
        Seed of the Leiden clustering.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES; a metric that cannot be computed is empty and says why.
    """
    labelled = known(embedding.obs[CELL_TYPE])
    x_nd = np.asarray(embedding.X, dtype=np.float32)[labelled]
    cell_type = embedding.obs[CELL_TYPE].astype(str).to_numpy()[labelled]
    batch = embedding.obs["batch"].astype(str).to_numpy()[labelled]
    scores = _parts(x_nd, cell_type, batch, section.neighbours, seed)
    scores["avg_bio"] = _mean(scores, BIO)
    scores["avg_batch"] = _mean(scores, BATCH)
    scores["overall"] = _overall(scores["avg_bio"], scores["avg_batch"])
    return rows(
        embedding,
        scores,
        run=run,
        task=TASK,
        protocol=(
            f"scib-metrics {version('scib-metrics')}; NMI and ARI of the Leiden clustering with the best NMI of 10 "
            f"resolutions from 0.2 to 2; exact graph of {section.neighbours} neighbours; Euclidean distances"
        ),
        split=f"all cells but {(~labelled).sum()} without a cell type",
        n=len(x_nd),
        seed=seed,
    )


def _parts(x_nd: np.ndarray, cell_type: np.ndarray, batch: np.ndarray, neighbours: int, seed: int) -> dict[str, Score]:
    if len(x_nd) <= neighbours:
        return dict.fromkeys(
            (*BIO, *BATCH), missing(f"{len(x_nd)} labelled cells are too few for {neighbours} neighbours")
        )
    import scib_metrics

    # The graph is made once and passed on; exact, so that the score does not depend on an approximate search.
    graph = _neighbours(x_nd, neighbours)
    scores = {}
    if len(np.unique(cell_type)) == 1:
        scores |= dict.fromkeys(BIO, missing("all cells are of one type"))
    else:
        clusters = scib_metrics.nmi_ari_cluster_labels_leiden(graph, cell_type, seed=seed)
        scores["nmi"], scores["ari"] = Score(clusters["nmi"]), Score(clusters["ari"])
        scores["asw_label"] = Score(float(scib_metrics.silhouette_label(x_nd, cell_type)))
    if len(np.unique(batch)) == 1:
        scores |= dict.fromkeys(BATCH, missing("the dataset has one batch"))
    else:
        scores["graph_connectivity"] = Score(float(scib_metrics.graph_connectivity(graph, cell_type)))
        # scib-metrics passes over a cell type of one batch, and over one where each cell is a batch of its own.
        batches = pd.Series(batch).groupby(cell_type).agg(["nunique", "size"])
        if batches["nunique"].between(2, batches["size"] - 1).any():
            scores["asw_batch"] = Score(float(scib_metrics.silhouette_batch(x_nd, cell_type, batch)))
        else:
            scores["asw_batch"] = missing("no cell type has cells of several batches")
    return scores


def _neighbours(x_nd: np.ndarray, neighbours: int):
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    # A cell counts among its own neighbours, as in scib-metrics' own searches.
    distances, indices = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(x_nd).kneighbors(x_nd)
    return NeighborsResults(indices=indices, distances=distances)


def _mean(scores: dict[str, Score], parts: tuple[str, ...]) -> Score:
    for part in parts:
        if scores[part].reason:
            return missing(f"{part}: {scores[part].reason}")
    return Score(float(np.mean([scores[part].value for part in parts])))


def _overall(avg_bio: Score, avg_batch: Score) -> Score:
    for part in (avg_bio, avg_batch):
        if part.reason:
            return missing(part.reason)
    return Score(BIO_WEIGHT * avg_bio.value + (1 - BIO_WEIGHT) * avg_batch.value)

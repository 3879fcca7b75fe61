"""Embeddings to score in tests."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.spatial.distance import cdist

from wced.benchmarks.job import Job
from wced.benchmarks.neighbours import neighbours_of
from wced.tables import SCORES, checked


def clouds(cell_type: list[str], batch: list[str], seed: int = 0, **facts: str) -> AnnData:
    """Return an embedding of cells that scatter around a centre of their type, with a small shift by batch."""
    rng = np.random.default_rng(seed)
    types, batches = pd.factorize(np.array(cell_type))[0], pd.factorize(np.array(batch))[0]
    x_nd = rng.normal(size=(len(types), 4)).astype(np.float32)
    x_nd[:, 0] += 4 * types
    x_nd[:, 1] += batches
    obs = pd.DataFrame(
        {"cell_type_ontology_term_id": pd.Categorical(cell_type), "batch": pd.Categorical(batch)},
        index=[f"c{i}" for i in range(len(types))],
    )
    return embedding(x_nd, obs, **facts)


def embedding(x_nd: np.ndarray, obs: pd.DataFrame, **facts: object) -> AnnData:
    """Return an embedding with what its file says of it."""
    own = {"model": "m", "dataset": "d", "n_params": 5, "width": x_nd.shape[1], "leakage": "none", "source": "here"}
    return AnnData(X=x_nd, obs=obs, uns={"wced": own | {"space": "common"} | facts})


def scib_scores(x_nd: np.ndarray, label_n: np.ndarray, count: int, seeds: Iterable[int]) -> tuple[object, dict]:
    """Return the graph of neighbours by all distances, and NMI, ARI and ASW label of scib-metrics itself."""
    import scib_metrics
    from scib_metrics.nearest_neighbors import NeighborsResults

    distance_nn = cdist(x_nd, x_nd)
    near_nk = np.argsort(distance_nn, axis=1)[:, :count]
    graph = NeighborsResults(near_nk, np.take_along_axis(distance_nn, near_nk, axis=1))
    by_seed = [scib_metrics.nmi_ari_cluster_labels_leiden(graph, label_n, seed=seed) for seed in seeds]
    scores = {metric: np.mean([values[metric] for values in by_seed]) for metric in ("nmi", "ari")}
    return graph, scores | {"asw_label": scib_metrics.silhouette_label(x_nd, label_n)}


def job(embedding: AnnData, section, seed: int = 0, count: int | None = None, cluster_seeds: int = 2, **files) -> Job:
    """Return a job, with the graph of `count` neighbours where that is given."""
    graph = None if count is None else neighbours_of(embedding, count, seed, cluster_seeds)
    return Job("r", seed, section, embedding, neighbours=graph, **files)


def score_rows(rows: Iterable[dict], **columns: object) -> pd.DataFrame:
    """Return rows of tables.SCORES with these columns, the others filled in; NaN is a value without one."""
    table = pd.DataFrame(rows).assign(**columns)
    others = {
        "run": "r", "task": "t", "protocol": "p", "split": "all", "label": "l", "ci_low": np.nan, "ci_high": np.nan,
        "ci_method": "", "n": 9, "n_params": 3, "width": 4, "seed": 0, "source": "here", "leakage": "none",
        "reason": np.where(table["value"].isna(), "too few", ""),
    }  # fmt: skip
    return checked(table.assign(**{name: value for name, value in others.items() if name not in table}), SCORES)

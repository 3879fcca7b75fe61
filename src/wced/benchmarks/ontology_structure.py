"""Ontology structure: whether an embedding puts cell types near each other as the Cell Ontology does."""

import numpy as np
import pandas as pd

from wced.benchmarks import ontorwr, rogi
from wced.benchmarks.job import Job, Metric
from wced.benchmarks.scores import CELL_TYPE, known, rows
from wced.ontology import CellOntology, load
from wced.stats import Score, missing

TITLE = "Agreement of the embedding with the Cell Ontology"
METRICS = (
    Metric(
        "scgraph_ontorwr",
        "OntoRWR",
        "OntoRWR (scGraph-OntoRWR): how the distances between the centres of cell types go with those in the Cell "
        "Ontology by a random walk with restart; mean correlation over cell types, by values (Pearson) and by ranks "
        "(Spearman).",
        headline=True,
    ),
    Metric("scgraph_ontorwr_rank", "OntoRWR, ranks"),
    Metric(
        "rogi_xd_label",
        "ROGI-XD",
        "ROGI and ROGI-XD: roughness, how much of the cell types is lost when near cells are taken as one, from 0 "
        "(smooth) to 1; ROGI-XD compares embeddings of any width; distances, by which ROGI goes, depend on it.",
        headline=True,
        higher_is_better=False,
    ),
    Metric(
        "rogi_xd_ontology",
        "ROGI-XD, ontology",
        "ROGI-XD, ontology: the same where taking types near in the ontology as one costs less.",
        higher_is_better=False,
    ),
    Metric("rogi_label", "ROGI", higher_is_better=False),
)
TYPES = ("scgraph_ontorwr", "scgraph_ontorwr_rank")
"""Metrics of cell types; the others are of cells."""


def score(job: Job) -> pd.DataFrame:
    """Score how an embedding's cell types lie to each other; see `wced.benchmarks.ontorwr` and `wced.benchmarks.rogi`.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES. Cells whose cell type is unknown or not in the Cell Ontology are left out and counted in
        `split`.
    """
    ontology, section = load(), job.section
    labels = job.embedding.obs[CELL_TYPE].astype(str)
    current = labels.map({term: ontology.current(term) for term in labels.unique()})
    scored = current.notna().to_numpy()
    x_nd = np.asarray(job.embedding.X, dtype=np.float32)[scored]
    type_n = current[scored].to_numpy(dtype=str)
    scores = ontorwr.scores(x_nd, type_n, ontology, restart=section.restart, min_cells=section.min_cells, seed=job.seed)
    scores |= _roughness(x_nd, type_n, ontology, section.restart, section.rogi_cells, job.seed)
    return rows(
        job.embedding,
        {metric.name: scores[metric.name] for metric in METRICS},
        run=job.run,
        task="ontology_structure",
        protocol=(
            f"Cell Ontology {ontology.version}; OntoRWR: means trimmed by {ontorwr.TRIM:.0%}, types of "
            f"{section.min_cells} cells or more, Euclidean distances, unweighted is_a links, restart probability "
            f"{section.restart}; ROGI: complete linkage of Euclidean distances of at most {section.rogi_cells} cells "
            f"drawn at random, one-hot labels, {rogi.LEVELS} levels"
        ),
        split=(
            f"all cells but {(~known(labels)).sum()} without a cell type and {(known(labels) & ~scored).sum()} whose "
            f"label is not in the Cell Ontology"
        ),
        n=int(scored.sum()),
        seed=job.seed,
    )


def _roughness(
    x_nd: np.ndarray, type_n: np.ndarray, ontology: CellOntology, restart: float, most: int, seed: int
) -> dict[str, Score]:
    """Return the roughness for labels and for their places in the ontology, of at most so many cells."""
    if not len(x_nd):
        return dict.fromkeys((metric.name for metric in METRICS), missing("no cell has a Cell Ontology term"))
    if len(x_nd) > most:
        drawn = np.sort(np.random.default_rng((seed, len(x_nd))).choice(len(x_nd), size=most, replace=False))
        x_nd, type_n = x_nd[drawn], type_n[drawn]
    types, code_n = np.unique(type_n, return_inverse=True)
    place_kd = _flattened(ontorwr.profiles(ontology, list(types), restart))
    return rogi.scores(x_nd, {"label": np.eye(len(types))[code_n], "ontology": place_kd[code_n]}, seed)


def _flattened(points_kd: np.ndarray) -> np.ndarray:
    """Return points of the same distances in as few dimensions as there are points."""
    left_kk, length_k, _ = np.linalg.svd(points_kd - points_kd.mean(axis=0), full_matrices=False)
    return left_kk * length_k

"""The cluster of one cell type that carries a marker signature most, and what it has to do with a disease."""

from importlib.metadata import version

import numpy as np
import pandas as pd

from wced import h5ad
from wced.benchmarks.disease_subtype import METRICS, DiseaseSubtype, Subtype
from wced.benchmarks.disease_subtype.enrichment import enrichment, explained, signature
from wced.benchmarks.disease_subtype.figures import cells_figure, clusters_figure
from wced.benchmarks.job import Job, rows, unscored
from wced.benchmarks.neighbours import connectivities, leiden, nearest
from wced.contracts import CELL_TYPE, are_unknown
from wced.errors import WcedError
from wced.ontology import load
from wced.stats import Score, missing, standard_errors, wilson


def score(job: Job) -> pd.DataFrame:
    """Cluster one cell type of an embedding and score the cluster that carries the signature most (paper, section 11).

    The signature chooses the cluster, the disease does not, so the tests of the disease need no correction for the
    choice. See `enrichment` beside this module for signature and tests. With `figures`, the table of all clusters is
    `clusters.tsv` there.

    Raises WcedError if obs lacks a column that the section names, or the source has other cells than the embedding.
    """
    section: DiseaseSubtype = job.section
    subtype = section.of(job.dataset)
    chosen_n, case_n, left_out = cells_of(job.embedding.obs, subtype, job.dataset)
    x_nd = np.asarray(job.embedding.X, np.float32)[chosen_n]
    signature_n, used = _signature(job, subtype, chosen_n)
    unused = ", ".join(name for name in (*subtype.up, *subtype.down) if name not in used)
    if len(x_nd) <= section.neighbours:
        scores = unscored(METRICS, f"{len(x_nd)} cells are too few for {section.neighbours} neighbours")
    elif case_n.all() or not case_n.any():
        scores = unscored(METRICS, f"all cells are of {'cases' if case_n.all() else 'controls'}")
    elif not used:
        scores = unscored(METRICS, f"no marker is measured and varies: {unused}")
    else:
        donors = job.embedding.obs[subtype.donor_column]
        donor_n = np.where(~are_unknown(donors), donors.astype(str), "").astype(str)[chosen_n]
        cluster_n = clusters(x_nd, section.neighbours, section.resolution, job.seed)
        table, samples, untested = enrichment(cluster_n, signature_n, case_n, donor_n, job.seed)
        scores = _scores(table, samples, untested) | {"explained": explained(signature_n, cluster_n, job.seed)}
        if job.figures is not None:
            cells = pd.DataFrame({"cell": job.embedding.obs_names[chosen_n], "cluster": cluster_n})
            cells = cells.assign(signature=signature_n, kind=np.where(case_n, "case", "control"))
            cells_figure(job, x_nd, cells)
            clusters_figure(job, table)
    protocol = (
        f"scib-metrics {version('scib-metrics')} Leiden clustering, resolution {section.resolution:g}, exact graph "
        f"of {section.neighbours} neighbours; signature of {', '.join(used)}{f', not {unused}' if unused else ''}"
    )
    split, label = f"cells of {subtype.cell_type} and its descendants; {left_out}", subtype.disease_column
    return rows(job, "disease_subtype", scores, protocol=protocol, split=split, n=len(x_nd), label=label)


def cells_of(obs: pd.DataFrame, subtype: Subtype, dataset: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Return which cells are scored, which of those are cases (bool), and what is left out, or raise WcedError."""
    for name in (CELL_TYPE, subtype.disease_column, subtype.donor_column):
        if name not in obs:
            remedy = "columns beside CELLxGENE's come by extra_obs of its row"
            raise WcedError(f"dataset {dataset}: obs has no column {name}; {remedy}")
    of_type_n = obs[CELL_TYPE].astype(str).isin(load().descendants(subtype.cell_type)).to_numpy()
    disease = obs[subtype.disease_column].astype(str)
    case_n, control_n = (disease.isin(values).to_numpy() for values in (subtype.cases, subtype.controls))
    chosen_n = of_type_n & (case_n | control_n)
    left_out = f"left out: {(of_type_n & ~chosen_n).sum()} cells that are neither case nor control"
    return chosen_n, case_n[chosen_n], left_out


def clusters(x_nd: np.ndarray, neighbours: int, resolution: float, seed: int) -> np.ndarray:
    """Return the Leiden cluster of each cell, int64, 0 for the largest; `neighbours` counts the cell itself."""
    cluster_n = leiden(connectivities(*nearest(x_nd, neighbours - 1)), [seed], [resolution])[0, 0]
    by_size = np.argsort(-np.bincount(cluster_n), kind="stable")
    return np.argsort(by_size)[cluster_n]


def _signature(job: Job, subtype: Subtype, chosen_n: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the signature of the chosen cells by the counts of the source, and the markers it is made of."""
    source = h5ad.read(job.source, backed="r")
    if not source.obs_names.equals(job.embedding.obs_names):
        raise WcedError(f"{job.source}: its cells are not those of the embedding of {job.dataset}")
    cells = source[np.flatnonzero(chosen_n)].to_memory()
    source.file.close()
    return signature(cells.X, cells.var, subtype.up, subtype.down)


def _scores(table: pd.DataFrame, samples: int, untested: str) -> dict[str, Score]:
    """Return the scores of the cluster with the highest signature; the parameters are what `enrichment` returned."""
    best = table.loc[table["signature"].idxmax()]
    cells, cases = int(best["cells"]), int(best["cases"])
    of_signature, of_odds = (
        "1.96 standard errors over the cluster's cells",
        "Woolf, 0.5 added to each count, over cells",
    )
    return {
        "signature": standard_errors(best["signature"], best["signature_se"], of_signature, n=cells),
        "odds_ratio": Score(best["odds_ratio"], best["odds_low"], best["odds_high"], of_odds),
        "q_cells": Score(best["q_cells"]),
        "q_donors": missing(untested) if untested else Score(best["q_donors"], n=samples),
        "case_share": wilson(cases, cells, "Wilson, over cells"),
        "share_of_cases": wilson(cases, int(table["cases"].sum()), "Wilson, over cells"),
        "clusters": Score(float(len(table))),
    }

"""The scores of `ontorwr` and `rogi` for the cells whose type is a term of the Cell Ontology."""

import numpy as np
import pandas as pd

from wced.benchmarks.job import Job, rows, unscored
from wced.benchmarks.labels import current_terms, left_out
from wced.benchmarks.ontology_structure import METRICS, OntologyStructure, ontorwr, rogi
from wced.ontology import load


def score(job: Job) -> pd.DataFrame:
    """Score how an embedding's cell types lie to each other; see `ontorwr` and `rogi` beside this module.

    Cells whose cell type is unknown or not in the Cell Ontology are left out and counted in `split`.
    """
    section: OntologyStructure = job.section
    ontology = load()
    terms, outside = current_terms(job.embedding, ontology)
    scored_n = terms.notna().to_numpy()
    x_nd = np.asarray(job.embedding.X, dtype=np.float32)[scored_n]
    type_n = terms[scored_n].to_numpy(dtype=str)
    scores = unscored(METRICS, "no cell has a Cell Ontology term")
    if scored_n.any():
        restart, min_cells, most = section.restart, section.min_cells, section.rogi_cells
        scores |= ontorwr.scores(x_nd, type_n, ontology, restart=restart, min_cells=min_cells, seed=job.seed)
        if len(x_nd) > most:
            rng = np.random.default_rng((job.seed, len(x_nd)))
            sample = np.sort(rng.choice(len(x_nd), size=most, replace=False))
            x_nd, type_n = x_nd[sample], type_n[sample]
        types, code_n = np.unique(type_n, return_inverse=True)
        # The same distances in as few dimensions as there are types.
        profile_kt = ontorwr.profiles(ontology, list(types), restart)
        left_kk, length_k, _ = np.linalg.svd(profile_kt - profile_kt.mean(axis=0), full_matrices=False)
        profile_kd = left_kk * length_k
        scores |= rogi.scores(x_nd, {"label": np.eye(len(types))[code_n], "ontology": profile_kd[code_n]}, job.seed)
    scores = {metric.name: scores[metric.name] for metric in METRICS}
    protocol = (
        f"Cell Ontology {ontology.version}; OntoRWR: means trimmed by {ontorwr.TRIM:.0%}, types of "
        f"{section.min_cells} cells or more, Euclidean distances, unweighted is_a links, restart probability "
        f"{section.restart}; ROGI: complete linkage of Euclidean distances of at most {section.rogi_cells} cells "
        f"drawn at random, one-hot labels, {rogi.LEVELS} levels"
    )
    split, n = left_out(terms, outside), int(scored_n.sum())
    return rows(job, "ontology_structure", scores, protocol=protocol, split=split, n=n)

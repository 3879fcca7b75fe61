"""Embeddings to score in tests."""

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.benchmarks.job import Job
from wced.benchmarks.neighbours import neighbours_of


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
    known = {"model": "m", "dataset": "d", "n_params": 5, "width": 4, "leakage": "none", "source": "here"}
    return AnnData(X=x_nd, obs=obs, uns={"wced": known | {"space": "common"} | facts})


def job(embedding: AnnData, section, seed: int = 0, count: int | None = None, cluster_seeds: int = 2, **files) -> Job:
    """Return a job, with the graph of `count` neighbours where that is given."""
    graph = None if count is None else neighbours_of(embedding, count, seed, cluster_seeds)
    return Job("r", seed, section, embedding, neighbours=graph, **files)

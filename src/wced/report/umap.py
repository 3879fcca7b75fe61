"""Two-dimensional pictures of embeddings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.embedding.files import read_embedding
from wced.errors import WcedError
from wced.progress import progress
from wced.tables import UMAP, checked


def umap(embedding: AnnData, neighbours: int, seed: int) -> np.ndarray:
    """Return UMAP coordinates of an embedding: scanpy's defaults on the embedding as it is, Euclidean distances.

    Parameters
    ----------
    embedding
        Cells × dimensions.
    neighbours
        Nearest neighbours of the graph that is laid out.
    seed
        Seed of the layout.

    Returns
    -------
    np.ndarray
        Cells × 2, float64.
    """
    import scanpy as sc

    if embedding.n_obs <= neighbours:
        raise WcedError(f"report.umap_neighbours: {neighbours} neighbours of {embedding.n_obs} cells")
    graph = AnnData(X=np.asarray(embedding.X))
    sc.pp.neighbors(graph, n_neighbors=neighbours, use_rep="X", random_state=seed)
    sc.tl.umap(graph, random_state=seed)
    return np.asarray(graph.obsm["X_umap"], dtype=np.float64)


def umaps(paths: Sequence[str | Path], neighbours: int, seed: int) -> pd.DataFrame:
    """Return the UMAPs of several embeddings as rows of tables.UMAP, model after model."""
    frames = []
    for path in progress(paths, "umap", unit="embeddings"):
        embedding = read_embedding(path)
        xy_n2 = umap(embedding, neighbours, seed)
        frames.append(
            pd.DataFrame(
                {
                    "dataset": embedding.uns["wced"]["dataset"],
                    "model": embedding.uns["wced"]["model"],
                    "cell": embedding.obs_names.astype(str),
                    "cell_type": embedding.obs["cell_type"].astype(str).to_numpy(),
                    "batch": embedding.obs["batch"].astype(str).to_numpy(),
                    "umap_1": xy_n2[:, 0],
                    "umap_2": xy_n2[:, 1],
                }
            )
        )
    return checked(pd.concat(frames, ignore_index=True), UMAP)

"""The neighbour graph of an embedding and its Leiden clusterings, made once and shared by the tasks."""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from wced.benchmarks.scores import CELL_TYPE, known
from wced.errors import WcedError
from wced.files import existing, whole_file

RESOLUTIONS = tuple(2 * step / 10 for step in range(1, 11))
"""Resolutions of Leiden clustering: the ten that scib-metrics searches."""


@dataclass(frozen=True)
class Neighbours:
    """Exact nearest neighbours of the labelled cells among each other, and clusterings of their graph.

    Cells without a cell type are no part of it: what scib-metrics would be given is the labelled cells alone, and a
    graph of all cells is another one.
    """

    cell_n: np.ndarray
    """Names of the cells (obs names), in the order of the embedding."""
    indices_nk: np.ndarray
    """Neighbours of each cell, nearest first, the cell itself among them; int32 places in `cell_n`."""
    distances_nk: np.ndarray
    """Their Euclidean distances; float64."""
    clusters_rn: np.ndarray
    """Leiden cluster of each cell at each of `RESOLUTIONS`; int32."""
    count: int
    """Neighbours asked for. Where there are not more cells than that, no cell has neighbours and k is 0."""
    seed: int
    """Seed of the clusterings."""

    @property
    def reason(self) -> str:
        """Why there is no graph; empty where there is one."""
        if self.indices_nk.shape[1]:
            return ""
        return f"{len(self.cell_n)} labelled cells are too few for {self.count} neighbours"

    @property
    def graph(self) -> Any:
        """The graph as scib-metrics takes it (`NeighborsResults`)."""
        from scib_metrics.nearest_neighbors import NeighborsResults

        return NeighborsResults(indices=self.indices_nk, distances=self.distances_nk)


def neighbours_of(embedding: AnnData, count: int, seed: int) -> Neighbours:
    """Return graph and clusterings of the labelled cells of an embedding.

    Parameters
    ----------
    embedding
        Cells × dimensions with the obs column `cell_type_ontology_term_id`.
    count
        Nearest neighbours of a cell, itself among them.
    seed
        Seed of the clusterings.
    """
    if CELL_TYPE not in embedding.obs:
        raise WcedError(f"the embedding's obs has no column {CELL_TYPE}, by which cells are scored")
    labelled = known(embedding.obs[CELL_TYPE])
    x_nd = np.asarray(embedding.X, dtype=np.float32)[labelled]
    names = embedding.obs_names.to_numpy(dtype=str)[labelled]
    if len(x_nd) <= count:
        nothing = np.zeros((len(x_nd), 0))
        return Neighbours(names, nothing.astype(np.int32), nothing, nothing.T.astype(np.int32), count, seed)
    graph = nearest(x_nd, count)
    return Neighbours(
        names, graph.indices.astype(np.int32), graph.distances, leiden(graph, seed), count=count, seed=seed
    )


def nearest(x_nd: np.ndarray, count: int) -> Any:
    """Return the exact graph of `count` Euclidean nearest neighbours, as scib-metrics' `NeighborsResults`.

    A cell counts among its own neighbours, as in scib-metrics' own searches, which are approximate.
    """
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    distances, indices = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(x_nd).kneighbors(x_nd)
    return NeighborsResults(indices=indices, distances=distances.astype(np.float64))


def leiden(graph: Any, seed: int) -> np.ndarray:
    """Return the Leiden cluster of each cell at each of `RESOLUTIONS`, (resolutions, cells), int32.

    scib-metrics' clustering, of which its public functions give the scores only: modularity on the UMAP connectivities
    of the graph, each resolution with the same seed.
    """
    from scib_metrics.metrics._nmi_ari import _compute_clustering_leiden

    connectivities = graph.knn_graph_connectivities
    return np.stack(
        [_compute_clustering_leiden(connectivities, resolution, seed) for resolution in RESOLUTIONS]
    ).astype(np.int32)


def write_neighbours(path: str | Path, neighbours: Neighbours) -> None:
    """Write graph and clusterings as one NumPy archive (npz)."""
    with whole_file(path) as temporary:
        np.savez_compressed(
            temporary,
            cell_n=neighbours.cell_n.astype(np.str_),
            indices_nk=neighbours.indices_nk,
            distances_nk=neighbours.distances_nk,
            clusters_rn=neighbours.clusters_rn,
            count=neighbours.count,
            seed=neighbours.seed,
        )


def read_neighbours(path: str | Path, embedding: AnnData) -> Neighbours:
    """Read graph and clusterings; raise WcedError if they are none, or not of the labelled cells of the embedding."""
    names = [field.name for field in fields(Neighbours)]
    try:
        with np.load(existing(path, "the neighbours of an embedding (npz)"), allow_pickle=False) as file:
            found = {name: file[name] for name in names}
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as failure:
        raise WcedError(f"{path}: not the neighbours of an embedding: {failure}") from None
    labelled = embedding.obs_names.to_numpy(dtype=str)[known(embedding.obs[CELL_TYPE])]
    if not np.array_equal(found["cell_n"], labelled):
        raise WcedError(f"{path}: its cells are not the labelled ones of the embedding")
    return Neighbours(**{**found, "count": int(found["count"]), "seed": int(found["seed"])})

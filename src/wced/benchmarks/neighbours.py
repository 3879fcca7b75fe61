"""The neighbour graph of an embedding and its Leiden clusterings, made once and shared by the tasks."""

import random
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from anndata import AnnData
from scipy import sparse

from wced.benchmarks.labels import labelled
from wced.benchmarks.task import OTHERS
from wced.contracts import CELL_TYPE, are_unknown
from wced.errors import WcedError
from wced.files import existing, whole_file

RESOLUTIONS = tuple(2 * step / 10 for step in range(1, 11))
"""Resolutions of Leiden clustering: the ten that scib-metrics searches."""


@dataclass(frozen=True)
class Neighbours:
    """Exact nearest neighbours of the labelled cells among each other, as scib-metrics has them, and clusterings."""

    cell_n: np.ndarray
    """Names of the cells (obs names), in the order of the embedding."""
    indices_nk: np.ndarray
    """The nearest other cells of each cell, nearest first; int32 indices of `cell_n`. At least `OTHERS`, for purity."""
    distances_nk: np.ndarray
    """Their Euclidean distances; float64."""
    clusters_crn: np.ndarray
    """Leiden cluster of each cell for each seed of the clustering and each of `RESOLUTIONS`; int32."""
    count: int
    """Neighbours of a cell in the graph, itself among them. Without more cells than that there is no graph: k is 0."""
    seed_c: np.ndarray
    """Seeds of the clusterings; int64."""

    @property
    def reason(self) -> str:
        """Why there is no graph; empty where there is one."""
        if self.indices_nk.shape[1]:
            return ""
        return f"{len(self.cell_n)} labelled cells are too few for {self.count} neighbours"

    @property
    def graph_nn(self) -> sparse.csr_matrix:
        """The graph, cells × cells: 1 where the column's cell is a neighbour of the row's, the cell itself left out."""
        indices_nk = self.indices_nk[:, : self.count - 1]
        n, k = indices_nk.shape
        return sparse.csr_matrix((np.ones(n * k), indices_nk.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def neighbours_of(embedding: AnnData, count: int, seed: int, cluster_seeds: int) -> Neighbours:
    """Return graph and clusterings of the labelled cells of an embedding.

    `count` is the number of neighbours of a cell in the graph, itself among them. The seeds of the clusterings, and of
    nothing else, are `seed`, `seed` + 1 and so on.
    """
    if CELL_TYPE not in embedding.obs:
        raise WcedError(f"the embedding's obs has no column {CELL_TYPE}, by which cells are scored")
    x_nd, _ = labelled(embedding)
    seed_c = np.arange(seed, seed + cluster_seeds)
    if len(x_nd) > count:
        indices_nk, distances_nk = nearest(x_nd, min(max(count - 1, OTHERS), len(x_nd) - 1))
        clusters_crn = leiden(connectivities(indices_nk[:, : count - 1], distances_nk[:, : count - 1]), seed_c)
    else:
        indices_nk, distances_nk = np.zeros((len(x_nd), 0), np.int32), np.zeros((len(x_nd), 0))
        clusters_crn = np.zeros((cluster_seeds, len(RESOLUTIONS), 0), np.int32)
    return Neighbours(_labelled_names(embedding), indices_nk, distances_nk, clusters_crn, count, seed_c)


def _labelled_names(embedding: AnnData) -> np.ndarray:
    return embedding.obs_names.to_numpy(dtype=str)[~are_unknown(embedding.obs[CELL_TYPE])]


def nearest(x_nd: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` nearest other cells of each cell, int32 indices, and their Euclidean distances, float64.

    The search is exact. Cells in one point are each other's neighbours at a distance of 0, up to rounding.
    """
    from sklearn.neighbors import NearestNeighbors

    distances_nk, indices_nk = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(x_nd).kneighbors()
    return indices_nk.astype(np.int32), distances_nk.astype(np.float64)


def nearest_of_other_groups(x_nd: np.ndarray, group_n: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` nearest cells of each cell among those of all other groups than its own, int32 indices."""
    from sklearn.neighbors import NearestNeighbors

    indices_nk = np.empty((len(x_nd), count), np.int32)
    for group in np.unique(group_n):
        inside, outside = np.flatnonzero(group_n == group), np.flatnonzero(group_n != group)
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(x_nd[outside])
        indices_nk[inside] = outside[search.kneighbors(x_nd[inside], return_distance=False)]
    return indices_nk


def connectivities(indices_nk: np.ndarray, distances_nk: np.ndarray) -> sparse.coo_matrix:
    """Return UMAP's weights of a graph of neighbours, cells × cells, symmetric, as scib-metrics and scanpy take them.

    Parameters are those that `nearest` returns. Here a cell becomes its own first neighbour, at a distance of exactly
    0: UMAP takes the smallest distance above 0 for that to the nearest neighbour, and all weights of a cell's edges
    follow from it.
    """
    from umap.umap_ import fuzzy_simplicial_set

    n, k = indices_nk.shape
    itself_n1 = np.arange(n, dtype=indices_nk.dtype)[:, None]
    weights_nn, *_ = fuzzy_simplicial_set(
        sparse.coo_matrix((n, 1)), n_neighbors=k + 1, random_state=None, metric=None,
        knn_indices=np.hstack([itself_n1, indices_nk]), knn_dists=np.hstack([np.zeros((n, 1)), distances_nk]),
    )  # fmt: skip
    return weights_nn


def leiden(
    weights_nn: sparse.spmatrix, seed_c: Iterable[int], resolutions: Iterable[float] = RESOLUTIONS
) -> np.ndarray:
    """Return the Leiden cluster of each cell for each seed and resolution, (seeds, resolutions, cells), int32.

    scib-metrics' clustering (`nmi_ari_cluster_labels_leiden`, which returns scores only and makes the graph anew for
    each resolution): modularity on the weights that `connectivities` returns, both directions of an edge, igraph's
    defaults otherwise, each resolution from the same seed.
    """
    import igraph

    edges = igraph.Graph.Weighted_Adjacency(weights_nn, mode="directed")
    edges.to_undirected(mode="each")

    def clusters(seed: int, resolution: float) -> list[int]:
        igraph.set_random_number_generator(random.Random(seed))
        options = {"objective_function": "modularity", "weights": "weight", "resolution": resolution}
        return edges.community_leiden(**options).membership

    return np.array([[clusters(int(seed), each) for each in resolutions] for seed in seed_c], dtype=np.int32)


def write_neighbours(path: str | Path, neighbours: Neighbours) -> None:
    """Write graph and clusterings as one NumPy archive (npz)."""
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, **vars(neighbours))


def read_neighbours(path: str | Path, embedding: AnnData) -> Neighbours:
    """Read graph and clusterings; raise WcedError if they are none, or not of the labelled cells of the embedding."""
    try:
        with np.load(existing(path, "the neighbours of an embedding (npz)"), allow_pickle=False) as file:
            arrays = {field.name: file[field.name] for field in fields(Neighbours)}
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as failure:
        raise WcedError(f"{path}: not the neighbours of an embedding: {failure}") from None
    if not np.array_equal(arrays["cell_n"], _labelled_names(embedding)):
        raise WcedError(f"{path}: its cells are not the labelled ones of the embedding")
    return Neighbours(**{**arrays, "count": int(arrays["count"])})

"""Roughness index (ROGI): how much of what labels tell is lost when near cells of an embedding are taken as one."""

import numpy as np
from scipy import sparse
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import pairwise_distances

from wced.stats import CELL_SAMPLES, Score, bootstrap_weights, missing, standard_errors

LEVELS = 50
"""Numbers of clusters, evenly spaced in their logarithm, at which dispersion is measured."""
INTERVAL = f"1.96 standard errors of {CELL_SAMPLES} bootstraps over cells, the clustering fixed"
"""What `ci_method` says. Percentiles would lie too low: bootstrap samples leave cells out of small mixed clusters."""
_CHUNK = 20


def tree(x_nd: np.ndarray, levels: int = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Return so many nested clusterings of cells by complete linkage, from every cell alone to all in one.

    There are at least two cells; of few cells there are fewer clusterings. Returned are the cluster of each cell at
    each level (cells × levels, the finest first), and the distance up to which clusters of the level have been joined,
    as a share of the largest that the ranges of the dimensions allow (the diagonal of their box); 0 at the first level.
    """
    x_nd = np.asarray(x_nd, dtype=np.float64)
    distance_nn = pairwise_distances(x_nd)
    joined = linkage(squareform(distance_nn, checks=False), method="complete")
    sizes = np.unique(np.round(np.geomspace(1, len(x_nd), levels)).astype(int))[::-1]
    largest = np.sqrt((np.ptp(x_nd, axis=0) ** 2).sum())
    height_n = np.append(0.0, joined[:, 2]) / (largest if largest > 0 else 1.0)
    return cut_tree(joined, n_clusters=sizes), height_n[len(x_nd) - sizes]


def dispersion(cluster_nl: np.ndarray, property_nd: np.ndarray, weight_bn: np.ndarray) -> np.ndarray:
    """Return how far the means of clusters scatter: σ, sets of weights × levels.

        σ² = Σ_c w_c ‖ȳ_c − ȳ‖² / Σ_c w_c,

    where w_c is the weight of cluster c, ȳ_c the weighted mean of the properties (vectors) of its cells and ȳ that of
    all. Clusterings are those of `tree`, each row of weights is a set of weights of the cells.
    """
    sigma_bl = np.empty((len(weight_bn), cluster_nl.shape[1]))
    for start in range(0, len(weight_bn), _CHUNK):
        part_bn = weight_bn[start : start + _CHUNK].astype(np.float64)
        weight_cb = part_bn.T
        sum_cbd = weight_cb[:, :, None] * property_nd[:, None, :]
        total_b, mean_bd = weight_cb.sum(axis=0), sum_cbd.sum(axis=0) / weight_cb.sum(axis=0)[:, None]
        cluster_c = np.arange(len(cluster_nl))  # a cell of each cluster
        for level, cluster_n in enumerate(cluster_nl.T):
            # Clusters of a level are made of whole clusters of the level before.
            into_c = cluster_n[cluster_c]
            join = sparse.csr_matrix((np.ones(len(into_c)), (into_c, np.arange(len(into_c)))))
            weight_cb = join @ weight_cb
            sum_cbd = (join @ sum_cbd.reshape(len(into_c), -1)).reshape(len(weight_cb), *sum_cbd.shape[1:])
            cluster_c = cluster_c[np.unique(into_c, return_index=True)[1]]
            apart_cb = ((sum_cbd / np.maximum(weight_cb, 1e-300)[:, :, None] - mean_bd) ** 2).sum(axis=2)
            sigma_bl[start : start + _CHUNK, level] = np.sqrt((weight_cb * apart_cb).sum(axis=0) / total_b)
    return sigma_bl


def roughness(sigma_bl: np.ndarray, x_l: np.ndarray) -> np.ndarray:
    """Return 1 − ∫ σ(x) / σ(0) dx over x from 0 to 1, by trapezoids, for each row of `dispersion`.

    x ascends from 0, the level of the cells one by one; beyond the last level, up to 1, dispersion stays the same.
    """
    sigma_bl = np.concatenate([sigma_bl, sigma_bl[:, -1:]], axis=1)
    return 1 - np.trapezoid(sigma_bl / sigma_bl[:, :1], np.append(x_l, 1.0), axis=1)


def scores(x_nd: np.ndarray, properties: dict[str, np.ndarray], seed: int) -> dict[str, Score]:
    """Return the roughness of an embedding for properties of its cells; 0 is smooth, 1 is rough, lower is better.

    Cells are joined to ever larger clusters by complete linkage; of each clustering the dispersion σ of the clusters'
    mean properties is taken (`dispersion`), which falls from that of the cells to 0. Where near cells are alike it
    falls late. Two integrals of it:

    - over the distance up to which clusters were joined: ROGI (Aldeghi et al. 2022, "Roughness of molecular property
      landscapes and its impact on modellability"), which the review names for embeddings of cells;
    - over 1 − log(number of clusters) / log(number of cells): ROGI-XD (Graff et al. 2023), made to compare embeddings
      of different width, on which the spread of distances depends.

    Both are defined for a number per cell in [0, 1], as R = 2σ(0) − ∫ 2σ(x) dx, since its σ is at most ½. Here a
    property is a vector and R is divided by 2σ(0), so that it is at most 1 for any labels; for a property with two
    equally frequent values it is the published one.

    `properties` has arrays, cells × dimensions, by their name. Scores are `rogi_NAME` and `rogi_xd_NAME` of each.
    """
    names = [f"{kind}_{name}" for name in properties for kind in ("rogi", "rogi_xd")]
    n = len(x_nd)
    if n < 2 or (np.ptp(x_nd, axis=0) == 0).all():
        return dict.fromkeys(names, missing("the embedding has fewer than two different cells"))
    cluster_nl, threshold_l = tree(x_nd)
    clusters_l = cluster_nl.max(axis=0) + 1
    scales = {"rogi": threshold_l, "rogi_xd": 1 - np.log(clusters_l) / np.log(n)}
    weight_bn = np.concatenate([np.ones((1, n), np.float32), bootstrap_weights(n, seed)])
    results = {}
    for name, property_nd in properties.items():
        sigma_bl = dispersion(cluster_nl, property_nd, weight_bn)
        if sigma_bl[0, 0] == 0:
            results |= dict.fromkeys((f"rogi_{name}", f"rogi_xd_{name}"), missing("all cells are of one type"))
            continue
        sigma_bl = sigma_bl[sigma_bl[:, 0] > 0]
        for kind, x_l in scales.items():
            value_b = roughness(sigma_bl, x_l)
            error = float(np.std(value_b[1:], ddof=1))
            results[f"{kind}_{name}"] = standard_errors(float(value_b[0]), error, INTERVAL, n=n)
    return results

"""Intervals of scores by resampled cells: scores are sums over cells, so that a draw is a weight of each cell."""

import numpy as np
from scipy import sparse

from wced.benchmarks.scores import Score

DRAWS = 200
"""Bootstrap draws."""
INTERVAL = (
    f"1.96 standard errors of {DRAWS} bootstraps over cells, the clustering and each cell's neighbours, silhouette and "
    "piece fixed"
)
"""What `ci_method` says of the interval of one value."""
SEEDS_TOO = (
    f"t interval of the variance of {DRAWS} bootstraps over cells plus that of the mean over {{seeds}} seeds of the "
    "clustering"
)
"""The same of the mean over several seeds of the clustering."""


def cell_weights(n: int, seed: int) -> np.ndarray:
    """Return how often each of n cells is in each of `DRAWS` draws of n cells with replacement, (draws, n), float32."""
    rng = np.random.default_rng((seed, n))
    weight_sn = np.empty((DRAWS, n), dtype=np.float32)
    for weight_n in weight_sn:
        weight_n[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return weight_sn


def interval(value_c: np.ndarray, drawn_s: np.ndarray) -> Score:
    """Return the mean over seeds of the clustering, with the interval that cells and seeds make.

    With C seeds, value v_c for each, and the draws of the mean over seeds,

        V_cells = variance of the draws, V_seeds = variance of v_c / C (both with n - 1),
        interval = mean of v_c ± t √(V_cells + V_seeds),

    t the 97.5% quantile of Student's t with (V_cells + V_seeds)² (C - 1) / V_seeds² degrees of freedom (Welch and
    Satterthwaite: a variance of few seeds is itself uncertain). Of one seed, V_seeds is not known and left out, and t
    is 1.96.

    Not the percentiles of the draws: the same cell drawn twice agrees with itself, so that NMI and ARI of draws lie
    above those of the cells.

    Parameters
    ----------
    value_c
        Value on all cells for each seed of the clustering; one element for what does not depend on it.
    drawn_s
        Its mean over seeds in each draw.
    """
    from scipy import stats

    seeds, cells = len(value_c), float(np.var(drawn_s, ddof=1))
    between = float(np.var(value_c, ddof=1)) / seeds if seeds > 1 else 0.0
    freedom = (cells + between) ** 2 * (seeds - 1) / between**2 if between > 0 else np.inf
    value, half = float(np.mean(value_c)), float(stats.t.ppf(0.975, freedom)) * np.sqrt(cells + between)
    return Score(value, value - half, value + half, SEEDS_TOO.format(seeds=seeds) if seeds > 1 else INTERVAL)


def group_means(value_n: np.ndarray, group_n: np.ndarray, weight_sn: np.ndarray) -> np.ndarray:
    """Return for each draw the mean over groups of the mean of each group's cells, (draws,).

    Parameters
    ----------
    value_n
        Value of each cell.
    group_n
        Group of each cell, from 0. A group of which a draw has no cell is no part of that draw's mean.
    weight_sn
        As `cell_weights` gives it.
    """
    member_gn = _indicator(group_n)
    size_gs = member_gn @ weight_sn.T
    sum_gs = member_gn.multiply(np.asarray(value_n, dtype=np.float64)[None]).tocsr() @ weight_sn.T
    there_gs = size_gs > 0
    return np.divide(sum_gs, size_gs, out=np.zeros_like(sum_gs), where=there_gs).sum(axis=0) / there_gs.sum(axis=0)


def agreement(label_n: np.ndarray, cluster_n: np.ndarray, weight_sn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return NMI and ARI of labels and clusters in each draw, each (draws,).

    NMI = MI(labels, clusters) / mean of the two entropies; ARI = 2 (ad - bc) / ((a + b)(b + d) + (a + c)(c + d)) on the
    pairs of cells that both (a), one (b, c) or none (d) put together: scikit-learn's, from the contingency tables of
    all draws at once.

    Parameters
    ----------
    label_n, cluster_n
        Label and cluster of each cell, from 0.
    weight_sn
        As `cell_weights` gives it.
    """
    n_clusters = int(cluster_n.max()) + 1
    pair_n = label_n.astype(np.int64) * n_clusters + cluster_n
    pairs, pair_n = np.unique(pair_n, return_inverse=True)
    both_sp = (_indicator(pair_n) @ weight_sn.T).T  # pairs that occur, of all labels × clusters
    label_sl = both_sp @ _indicator(pairs // n_clusters).T
    cluster_sk = both_sp @ _indicator(pairs % n_clusters).T
    n = label_sl.sum(axis=1)
    entropy_label, entropy_cluster, entropy_both = (_entropy(x) for x in (label_sl, cluster_sk, both_sp))
    information = entropy_label + entropy_cluster - entropy_both
    scale = (entropy_label + entropy_cluster) / 2
    nmi_s = np.divide(information, scale, out=np.ones_like(scale), where=scale > 0)
    together, by_label, by_cluster = ((x**2).sum(axis=1) for x in (both_sp, label_sl, cluster_sk))
    a, b, c = together - n, by_cluster - together, by_label - together
    d = n**2 - n - a - b - c
    scale = (a + b) * (b + d) + (a + c) * (c + d)
    ari_s = np.divide(2 * (a * d - b * c), scale, out=np.ones_like(scale), where=scale > 0)
    return nmi_s, ari_s


def _indicator(group_n: np.ndarray) -> sparse.csr_matrix:
    """Return groups × cells, 1 where the cell is of the group; cells of group -1 are of none."""
    cells = np.flatnonzero(group_n >= 0)
    shape = (int(group_n.max()) + 1, len(group_n))
    return sparse.csr_matrix((np.ones(len(cells)), (group_n[cells], cells)), shape=shape)


def _entropy(count_sx: np.ndarray) -> np.ndarray:
    share_sx = count_sx / count_sx.sum(axis=1, keepdims=True)
    return -np.sum(share_sx * np.log(share_sx, out=np.zeros_like(share_sx), where=share_sx > 0), axis=1)

"""The metrics of scIB as scib-metrics defines them, each with its values on bootstrap samples, for any labels of cells.

Silhouettes are scikit-learn's: scib-metrics compiles its own copy anew for each number of cells, which took most of a
job's time. Tests compare every value with that of scib-metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from wced.benchmarks.neighbours import Neighbours
from wced.stats import Score, missing, over_cells

BIO = ("nmi", "ari", "asw_label")
"""Parts of AvgBio: how well labels are kept apart."""
BATCH = ("graph_connectivity", "asw_batch")
"""Parts of AvgBatch: how well batches mix."""


@dataclass(frozen=True)
class Part:
    """A metric and its values in the bootstrap samples, or the reason why there is none."""

    value_c: np.ndarray | None = None
    """Its value on all cells for each seed of the clustering; one element for a metric that has no clustering."""
    sampled_s: np.ndarray | None = None
    """Its mean over seeds in each sample."""
    reason: str = ""
    """Why there is no value."""
    n: int | None = None
    """Cells that it is of, where they are not those of the other metrics."""

    @property
    def score(self) -> Score:
        """The mean over seeds with its interval."""
        return missing(self.reason) if self.reason else replace(over_cells(self.value_c, self.sampled_s), n=self.n)


def bio(x_nd: np.ndarray, label_n: np.ndarray, clusters_crn: np.ndarray, weight_sn: np.ndarray) -> dict[str, Part]:
    """Return NMI, ARI and ASW label of cells with an embedding, labels, clusterings and bootstrap weights.

    Of the clusterings (`neighbours.leiden`), for each seed the resolution with the best NMI is scored, as scib-metrics
    does for its one seed. Weights are those of `stats.bootstrap_weights`.
    """
    code_n, labels = pd.factorize(label_n, sort=True)
    if len(labels) == 1:
        return dict.fromkeys(BIO, Part(reason=f"all cells are of one type, {labels[0]}"))
    if len(labels) == len(code_n):
        return dict.fromkeys(BIO, Part(reason="each cell is of a type of its own"))
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_samples

    nmi_cr = np.array(
        [[normalized_mutual_info_score(code_n, cluster_n) for cluster_n in clusters_rn] for clusters_rn in clusters_crn]
    )
    best_cn = clusters_crn[np.arange(len(nmi_cr)), nmi_cr.argmax(axis=1)]
    nmi_s, ari_s = np.mean([agreement(code_n, cluster_n, weight_sn) for cluster_n in best_cn], axis=0)
    ari_c = np.array([adjusted_rand_score(code_n, cluster_n) for cluster_n in best_cn])
    # scib-metrics' silhouette_label is the mean of these.
    width_n = (silhouette_samples(x_nd, code_n) + 1) / 2
    return {
        "nmi": Part(nmi_cr.max(axis=1), nmi_s),
        "ari": Part(ari_c, ari_s),
        "asw_label": mean_of_cells(width_n, np.zeros_like(code_n), weight_sn),
    }


def clustering_words(seed_c: Sequence[int]) -> str:
    """Return how NMI and ARI are made, for the protocol."""
    seeds = f"1 seed of the clustering alone ({seed_c[0]}"
    if len(seed_c) > 1:
        seeds = f"{len(seed_c)} seeds of the clustering alone ({seed_c[0]} to {seed_c[-1]}"
    leiden = "NMI and ARI of the Leiden clustering with the best NMI of 10 resolutions from 0.2 to 2"
    return f"{leiden}, mean over {seeds}; a training's seed is another)"


def mean_of_cells(value_n: np.ndarray, group_n: np.ndarray, weight_sn: np.ndarray) -> Part:
    """Return the mean over groups of the mean of each group's cells; see `group_means`."""
    once_1n = np.ones((1, len(value_n)))
    return Part(group_means(value_n, group_n, once_1n), group_means(value_n, group_n, weight_sn))


def batch(
    x_nd: np.ndarray, label_n: np.ndarray, batch_n: np.ndarray, neighbours: Neighbours, weight_sn: np.ndarray
) -> dict[str, Part]:
    """Return graph connectivity and ASW batch; see `bio`."""
    if len(np.unique(batch_n)) == 1:
        return dict.fromkeys(BATCH, Part(reason="the dataset has one batch"))
    code_n = pd.factorize(label_n, sort=True)[0]
    connected = mean_of_cells(_in_largest_component(neighbours.graph_nn, code_n), code_n, weight_sn)
    return {"graph_connectivity": connected, "asw_batch": _asw_batch(x_nd, code_n, batch_n, weight_sn)}


def weighted(parts: Mapping[str, Part], weights: Mapping[str, float]) -> Part:
    """Return the weighted sum of parts, for each seed and in all samples; without a value where a part has none."""
    for name in weights:
        if parts[name].reason:
            return parts[name]
    return Part(
        sum(weight * parts[name].value_c for name, weight in weights.items()),
        sum(weight * parts[name].sampled_s for name, weight in weights.items()),
    )


def mean(parts: Mapping[str, Part], names: Sequence[str]) -> Part:
    """Return the mean of the parts of these names; see `weighted`."""
    return weighted(parts, dict.fromkeys(names, 1 / len(names)))


def _in_largest_component(graph_nn: sparse.csr_matrix, code_n: np.ndarray) -> np.ndarray:
    """Return for each cell whether it is in the largest strongly connected component of its label's cells."""
    from scipy.sparse.csgraph import connected_components

    within_n = np.zeros(len(code_n))
    for code in range(code_n.max() + 1):
        cells = np.flatnonzero(code_n == code)
        component = connected_components(graph_nn[cells][:, cells], connection="strong")[1]
        within_n[cells] = component == np.bincount(component).argmax()
    return within_n


def _asw_batch(x_nd: np.ndarray, code_n: np.ndarray, batch_n: np.ndarray, weight_sn: np.ndarray) -> Part:
    """Return scib-metrics' silhouette_batch: the mean over labels of 1 - |silhouette of the batches|."""
    from sklearn.metrics import silhouette_samples

    mixed_n, group_n = np.zeros(len(code_n)), np.full(len(code_n), -1)
    for code in range(code_n.max() + 1):
        cells = np.flatnonzero(code_n == code)
        # scib-metrics skips a label of one batch, and one in which each cell is a batch of its own.
        if len(np.unique(batch_n[cells])) not in (1, len(cells)):
            mixed_n[cells] = 1 - np.abs(silhouette_samples(x_nd[cells], batch_n[cells]))
            group_n[cells] = group_n.max() + 1
    if group_n.max() < 0:
        return Part(reason="no cell type has cells of several batches")
    return mean_of_cells(mixed_n, group_n, weight_sn)


def group_means(value_n: np.ndarray, group_n: np.ndarray, weight_sn: np.ndarray) -> np.ndarray:
    """Return for each bootstrap sample the mean over groups of the mean value of each group's cells, (samples,).

    Groups count from 0, -1 is none; a group without a cell in a sample is no part of the sample's mean.
    """
    member_gn = _indicator(group_n)
    size_gs = member_gn @ weight_sn.T
    sum_gs = member_gn.multiply(np.asarray(value_n, dtype=np.float64)[None]).tocsr() @ weight_sn.T
    present_gs = size_gs > 0
    mean_gs = np.divide(sum_gs, size_gs, out=np.zeros_like(sum_gs), where=present_gs)
    return mean_gs.sum(axis=0) / present_gs.sum(axis=0)


def agreement(label_n: np.ndarray, cluster_n: np.ndarray, weight_sn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return NMI and ARI of labels and clusters in each bootstrap sample, each (samples,).

    NMI = MI(labels, clusters) / mean of the two entropies; ARI = 2 (ad - bc) / ((a + b)(b + d) + (a + c)(c + d)) on the
    pairs of cells that both (a), one (b, c) or none (d) put together: scikit-learn's, from the contingency tables of
    all samples at once. Labels and clusters count from 0.
    """
    from scipy.stats import entropy

    n_clusters = int(cluster_n.max()) + 1
    pairs, pair_n = np.unique(label_n.astype(np.int64) * n_clusters + cluster_n, return_inverse=True)
    both_sp = (_indicator(pair_n) @ weight_sn.T).T  # pairs that occur, of all labels × clusters
    label_sl = both_sp @ _indicator(pairs // n_clusters).T
    cluster_sk = both_sp @ _indicator(pairs % n_clusters).T
    entropy_label, entropy_cluster, entropy_both = (entropy(x, axis=1) for x in (label_sl, cluster_sk, both_sp))
    information = entropy_label + entropy_cluster - entropy_both
    scale = (entropy_label + entropy_cluster) / 2
    nmi_s = np.divide(information, scale, out=np.ones_like(scale), where=scale > 0)
    n = label_sl.sum(axis=1)
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

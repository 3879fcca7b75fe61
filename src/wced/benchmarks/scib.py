"""The metrics of scIB by scib-metrics, each with its values on resampled cells: for any labels of cells."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wced.benchmarks.neighbours import Neighbours
from wced.benchmarks.resampling import agreement, group_means, interval
from wced.benchmarks.scores import Score, missing

BIO = ("nmi", "ari", "asw_label")
"""Parts of AvgBio: how well labels are kept apart."""
BATCH = ("graph_connectivity", "asw_batch")
"""Parts of AvgBatch: how well batches mix."""


@dataclass(frozen=True)
class Part:
    """A metric and its values in the bootstrap draws, or the reason why there is none."""

    value: float = np.nan
    """Its value on all cells."""
    drawn_s: np.ndarray | None = None
    """Its value in each draw."""
    reason: str = ""
    """Why there is no value."""

    @property
    def score(self) -> Score:
        """The value with its interval."""
        return missing(self.reason) if self.reason else interval(self.value, self.drawn_s)


def bio(x_nd: np.ndarray, label_n: np.ndarray, cluster_rn: np.ndarray, weight_sn: np.ndarray) -> dict[str, Part]:
    """Return NMI, ARI and ASW label.

    Parameters
    ----------
    x_nd
        Embedding, cells × dimensions.
    label_n
        Label of each cell.
    cluster_rn
        Clusterings of the cells, as `neighbours.leiden` gives them; that with the best NMI is scored.
    weight_sn
        As `resampling.cell_weights` gives it.
    """
    code_n, labels = pd.factorize(label_n, sort=True)
    if len(labels) == 1:
        return dict.fromkeys(BIO, Part(reason=f"all cells are of one type, {labels[0]}"))
    from scib_metrics.utils import silhouette_samples
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    nmi_r = [normalized_mutual_info_score(label_n, cluster_n) for cluster_n in cluster_rn]
    chosen = int(np.argmax(nmi_r))
    nmi_s, ari_s = agreement(code_n, cluster_rn[chosen], weight_sn)
    # scib-metrics' silhouette_label is the mean of these.
    width_n = (np.asarray(silhouette_samples(x_nd, label_n), dtype=np.float64) + 1) / 2
    return {
        "nmi": Part(float(nmi_r[chosen]), nmi_s),
        "ari": Part(float(adjusted_rand_score(label_n, cluster_rn[chosen])), ari_s),
        "asw_label": Part(float(width_n.mean()), group_means(width_n, np.zeros_like(code_n), weight_sn)),
    }


def batch(
    x_nd: np.ndarray, label_n: np.ndarray, batch_n: np.ndarray, neighbours: Neighbours, weight_sn: np.ndarray
) -> dict[str, Part]:
    """Return graph connectivity and ASW batch; see `bio` for the parameters, `batch_n` is the batch of each cell."""
    if len(np.unique(batch_n)) == 1:
        return dict.fromkeys(BATCH, Part(reason="the dataset has one batch"))
    from scib_metrics import graph_connectivity

    graph = neighbours.graph
    code_n = pd.factorize(label_n, sort=True)[0]
    connected = Part(
        float(graph_connectivity(graph, label_n)),
        group_means(_in_largest_piece(graph.knn_graph_distances, code_n), code_n, weight_sn),
    )
    return {"graph_connectivity": connected, "asw_batch": _asw_batch(x_nd, code_n, batch_n, weight_sn)}


def weighted(parts: Mapping[str, Part], weights: Mapping[str, float]) -> Part:
    """Return the weighted sum of parts, in all draws too; without a value where a part has none."""
    for name in weights:
        if parts[name].reason:
            return parts[name]
    return Part(
        sum(weight * parts[name].value for name, weight in weights.items()),
        np.sum([weight * parts[name].drawn_s for name, weight in weights.items()], axis=0),
    )


def _in_largest_piece(graph_nn, code_n: np.ndarray) -> np.ndarray:
    """Return for each cell whether it is in the largest strongly connected piece of its label's cells."""
    from scipy.sparse.csgraph import connected_components

    within_n = np.zeros(len(code_n))
    for code in range(code_n.max() + 1):
        cells = np.flatnonzero(code_n == code)
        pieces = connected_components(graph_nn[cells][:, cells], connection="strong")[1]
        within_n[cells] = pieces == np.bincount(pieces).argmax()
    return within_n


def _asw_batch(x_nd: np.ndarray, code_n: np.ndarray, batch_n: np.ndarray, weight_sn: np.ndarray) -> Part:
    """Return scib-metrics' silhouette_batch: the mean over labels of 1 - |silhouette of the batches|."""
    from scib_metrics.utils import silhouette_samples

    mixed_n, group_n = np.zeros(len(code_n)), np.full(len(code_n), -1)
    for code in range(code_n.max() + 1):
        cells = np.flatnonzero(code_n == code)
        # scib-metrics passes over a label of one batch, and over one where each cell is a batch of its own.
        if len(np.unique(batch_n[cells])) not in (1, len(cells)):
            mixed_n[cells] = 1 - np.abs(np.asarray(silhouette_samples(x_nd[cells], batch_n[cells]), dtype=np.float64))
            group_n[cells] = group_n.max() + 1
    if group_n.max() < 0:
        return Part(reason="no cell type has cells of several batches")
    means = pd.Series(mixed_n).groupby(group_n).mean().drop(-1, errors="ignore")
    return Part(float(means.mean()), group_means(mixed_n, group_n, weight_sn))

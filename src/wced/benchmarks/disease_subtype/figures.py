"""Figures of the clusters of one cell type: the cells, and each cluster's signature and odds ratio."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from wced.benchmarks.job import Job
from wced.figures import CYAN, DOT, OTHER, ROSE, WINE, save_figure, styled
from wced.figures.charts import intervals, legend, panels, scatter
from wced.ontology import label_of

SHOWN = 5000
"""Most cells of the figure; of more, a random sample is shown."""
KINDS = {"control": CYAN, "case": WINE}
"""Colours of the figure."""


@styled
def cells_figure(job: Job, x_nd: np.ndarray, cells: pd.DataFrame) -> None:
    """Plot the cells by their first two principal components, coloured by cluster, signature and disease.

    `cells` has the name (`cell`), `cluster`, `signature` and `kind` of each cell of `x_nd`.
    """
    pca, subtype = PCA(2, random_state=job.seed), job.section.of(job.dataset)
    for i, component_n in enumerate(pca.fit_transform(x_nd).T, start=1):
        cells.insert(i, f"pc_{i}", component_n)
    # In random order, so that no kind of cell lies on top of the others.
    shown = cells.iloc[np.random.default_rng(job.seed).permutation(len(cells))[:SHOWN]]
    x, y = shown["pc_1"], shown["pc_2"]
    figure, (by_cluster, by_signature, by_disease) = panels(3, 11 / 3, 3.2)
    middles = cells.groupby("cluster")[["pc_1", "pc_2"]].median()
    colours = mpl.colormaps["tab20"](np.arange(len(middles)) % 20)
    scatter(by_cluster, x, y, colours[shown["cluster"]], s=5)
    for (cluster, *middle), colour in zip(middles.itertuples(), colours, strict=True):
        box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": colour, "alpha": 0.85}
        by_cluster.annotate(str(cluster), middle, ha="center", va="center", fontsize=7, bbox=box)
    most = np.quantile(np.abs(cells["signature"]), 0.98)
    points = scatter(by_signature, x, y, shown["signature"], s=5, cmap="RdBu_r", vmin=-most, vmax=most)
    figure.colorbar(points, ax=by_signature, label="signature (sd)", extend="both")
    scatter(by_disease, x, y, shown["kind"].map(KINDS), s=5)
    looks = {f"{kind} ({(cells['kind'] == kind).sum():,} cells)": DOT | {"color": KINDS[kind]} for kind in KINDS}
    legend(figure, "right upper", looks)
    for axis, title in ((by_cluster, "Cluster"), (by_signature, "Marker signature"), (by_disease, "Disease")):
        axis.set(title=title, xticks=[], yticks=[])
        axis.set_xlabel(f"PC 1 ({pca.explained_variance_ratio_[0]:.0%})")
        axis.set_ylabel(f"PC 2 ({pca.explained_variance_ratio_[1]:.0%})")
    sides = [("mean of ", subtype.up), ("minus mean of ", subtype.down)]
    formula = " ".join(words + ", ".join(names) for words, names in sides if names)
    sample = f" ({SHOWN:,} drawn at random are shown)" if len(x_nd) > SHOWN else ""
    caption = (
        f"First two principal components of the embedding of {len(x_nd):,} cells{sample}. Clusters are numbered by "
        f"size. Signature: {formula}, each marker in standard deviations among these cells. Cases: "
        f"{', '.join(subtype.cases)}; controls: {', '.join(subtype.controls)}."
    )
    _save(job, "cells", figure, caption, shown.sort_index())


@styled
def clusters_figure(job: Job, table: pd.DataFrame) -> None:
    """Plot signature and odds ratio of every cluster; `table` is what `enrichment` returned."""
    figure, (axis,) = panels(1, 5.2, 3.6)
    axis.axhline(1, color=OTHER, lw=1, zorder=0)
    axis.axvline(0, color=OTHER, lw=1, zorder=0)
    scores = table.rename(columns={"odds_ratio": "value", "odds_low": "ci_low", "odds_high": "ci_high"})
    colours = np.where(table.index == table["signature"].idxmax(), ROSE, OTHER)
    sizes = 60 + 240 * table["cells"] / table["cells"].max()
    intervals(axis, scores, table["signature"], colours, upright=True, s=sizes)
    for row in table.itertuples():
        axis.annotate(str(row.cluster), (row.signature, row.odds_ratio), ha="center", va="center", fontsize=7)
    axis.set(yscale="log", xlabel="mean marker signature (sd)", ylabel="odds ratio, cases over controls")
    caption = (
        "Mean marker signature of each cluster, and the odds of a cell being in it, cases over controls, with 95% "
        "intervals over cells; the size of a point is the cluster's number of cells. Coloured is the cluster with "
        "the highest signature."
    )
    _save(job, "clusters", figure, caption, table)


def _save(job: Job, name: str, figure: Figure, caption: str, data: pd.DataFrame) -> None:
    term = job.section.of(job.dataset).cell_type
    title = f"{name.capitalize()} of {label_of(term)} ({term}): {job.model} on {job.dataset}"
    save_figure(job.figures, name, figure, title=title, caption=caption, data=data)

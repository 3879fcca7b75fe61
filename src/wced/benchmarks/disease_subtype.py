"""Disease subtype: whether one cell type has a cluster in the embedding that carries a disease's marker signature."""

from importlib.metadata import version

import matplotlib as mpl
import numpy as np
import pandas as pd

from wced.benchmarks.disease_enrichment import DonorTest, Signature, enrichment, explained, signature
from wced.benchmarks.job import Job, Metric
from wced.benchmarks.neighbours import connectivities, leiden, nearest
from wced.benchmarks.scores import CELL_TYPE, known, rows
from wced.config.benchmarks.disease_subtype import DiseaseSubtype, Subtype
from wced.errors import WcedError
from wced.figures import CYAN, DOT, OTHER, ROSE, WINE, save_figure, styled
from wced.figures.charts import intervals, legend, panels, scatter
from wced.stats import Score, missing, standard_errors, wilson

TITLE = "Disease subtype"
METRICS = (
    Metric(
        "signature",
        "Signature",
        "Of the cluster with the highest mean marker signature: that mean, in standard deviations.",
        headline=True,
    ),
    Metric("explained", "η²", "Share of the signature's variance that lies between clusters.", headline=True),
    Metric("odds_ratio", "Odds ratio", "Odds of being in that cluster, cases over controls.", headline=True),
    Metric("q_cells", "q, cells", "Fisher's exact test, corrected over clusters.", ranks=False, higher_is_better=False),
    Metric("q_donors", "q, donors", "The same by permuted donors.", ranks=False, higher_is_better=False),
    Metric("case_share", "Cases", "Share of its cells that are cases'.", ranks=False),
    Metric("share_of_cases", "Of cases", "Share of the cases' cells that are in it.", ranks=False),
    Metric("clusters", "Clusters", "Clusters of the cell type.", ranks=False),
)
DRAWN = 5000
"""Most cells of the figure; of more, these are drawn at random."""
KINDS = {"control": CYAN, "case": WINE}
"""Colours of the figure."""


def score(job: Job) -> pd.DataFrame:
    """Cluster one cell type of an embedding and score the cluster that carries the signature most (paper, section 11).

    The signature chooses the cluster, the disease does not, so that the tests of the disease need no correction for the
    choice. See `disease_enrichment` for signature and tests.

    Parameters
    ----------
    job
        With `source`, whose cells are the embedding's.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES. With `figures`, the table of all clusters is `clusters.tsv` there.

    Raises
    ------
    WcedError
        If a column is missing or the source has other cells.
    """
    section: DiseaseSubtype = job.section
    subtype = section.of(job.dataset)
    chosen_n, case_n, left_out = cells_of(job.embedding.obs, subtype, job.dataset)
    x_nd = np.asarray(job.embedding.X, np.float32)[chosen_n]
    marked = _signature(job, subtype, chosen_n)
    reason = ""
    if len(x_nd) <= section.neighbours:
        reason = f"{len(x_nd)} cells are too few for {section.neighbours} neighbours"
    elif case_n.all() or not case_n.any():
        reason = f"all cells are of {'cases' if case_n.all() else 'controls'}"
    elif marked.score_n is None:
        reason = f"no marker is measured and varies: {', '.join(marked.unused)}"
    if reason:
        scores = {metric.name: missing(reason) for metric in METRICS}
    else:
        donors = job.embedding.obs[subtype.donor_column]
        donor_n = np.where(known(donors), donors.astype(str), "").astype(str)[chosen_n]
        cluster_n = clusters(x_nd, section.neighbours, section.resolution, job.seed)
        table, test = enrichment(cluster_n, marked.score_n, case_n, donor_n, job.seed)
        scores = _scores(table, test) | {"explained": explained(marked.score_n, cluster_n, job.seed)}
        if job.figures is not None:
            _cells_figure(job, job.embedding.obs_names[chosen_n], x_nd, cluster_n, marked.score_n, case_n)
            _clusters_figure(job, table)
    unused = f", not {', '.join(marked.unused)}" if marked.unused else ""
    return rows(
        job.embedding,
        scores,
        run=job.run,
        task="disease_subtype",
        protocol=(
            f"scib-metrics {version('scib-metrics')} Leiden clustering, resolution {section.resolution:g}, exact graph "
            f"of {section.neighbours} neighbours; signature of {', '.join(marked.used)}{unused}"
        ),
        split=f"cells of {subtype.cell_type} and its descendants; {left_out}",
        n=len(x_nd),
        seed=job.seed,
        label=subtype.disease_column,
    )


def cells_of(obs: pd.DataFrame, subtype: Subtype, dataset: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Return which cells are scored (bool, (cells,)), which of those are cases (bool), and in words what is left out.

    Raises
    ------
    WcedError
        If a column is missing.
    """
    from wced.ontology import load

    for name in (CELL_TYPE, subtype.disease_column, subtype.donor_column):
        if name not in obs:
            raise WcedError(
                f"dataset {dataset}: obs has no column {name}; columns beside CELLxGENE's come by extra_obs of its row"
            )
    of_type_n = obs[CELL_TYPE].astype(str).isin(load().descendants(subtype.cell_type)).to_numpy()
    disease = obs[subtype.disease_column].astype(str)
    case_n, told_n = (disease.isin(values).to_numpy() for values in (subtype.cases, subtype.cases + subtype.controls))
    chosen_n = of_type_n & told_n
    left_out = f"left out: {(of_type_n & ~told_n).sum()} cells that are neither case nor control"
    return chosen_n, case_n[chosen_n], left_out


def clusters(x_nd: np.ndarray, neighbours: int, resolution: float, seed: int) -> np.ndarray:
    """Return the Leiden cluster of each cell, int64, (cells,), 0 for the largest.

    scib-metrics' clustering, see `wced.benchmarks.neighbours.leiden`, at one resolution.

    Parameters
    ----------
    x_nd
        Cells × dimensions.
    neighbours
        Nearest neighbours, the cell itself among them.
    resolution
        Of modularity.
    seed
        Seed of the clustering.
    """
    cluster_n = leiden(connectivities(*nearest(x_nd, neighbours - 1)), [seed], [resolution])[0, 0]
    by_size = np.argsort(-np.bincount(cluster_n), kind="stable")
    return np.argsort(by_size)[cluster_n]


def _signature(job: Job, subtype: Subtype, chosen_n: np.ndarray) -> Signature:
    """Return the signature of the chosen cells by the counts of the source."""
    from wced import h5ad

    source = h5ad.read(job.source, backed="r")
    if not source.obs_names.equals(job.embedding.obs_names):
        raise WcedError(f"{job.source}: its cells are not those of the embedding of {job.dataset}")
    cells = source[np.flatnonzero(chosen_n)].to_memory()
    source.file.close()
    return signature(cells.X, cells.var, subtype.up, subtype.down)


def _scores(table: pd.DataFrame, test: DonorTest) -> dict[str, Score]:
    """Return the scores of the cluster with the highest signature."""
    best = table.loc[table["signature"].idxmax()]
    cells, cases = int(best["cells"]), int(best["cases"])
    all_cases = int(table["cases"].sum())
    return {
        "signature": standard_errors(
            best["signature"], best["signature_se"], "1.96 standard errors over the cluster's cells", n=cells
        ),
        "odds_ratio": Score(
            best["odds_ratio"], best["odds_low"], best["odds_high"], "Woolf, 0.5 added to each count, over cells"
        ),
        "q_cells": Score(best["q_cells"]),
        "q_donors": missing(test.reason) if test.reason else Score(best["q_donors"], n=test.samples),
        "case_share": wilson(cases, cells, "Wilson, over cells"),
        "share_of_cases": wilson(cases, all_cases, "Wilson, over cells"),
        "clusters": Score(float(len(table))),
    }


@styled
def _cells_figure(
    job: Job, names_n: pd.Index, x_nd: np.ndarray, cluster_n: np.ndarray, score_n: np.ndarray, case_n: np.ndarray
) -> None:
    """Draw the cells by their first two principal components, coloured by cluster, signature and disease."""
    from sklearn.decomposition import PCA

    pca, subtype = PCA(2, random_state=job.seed), job.section.of(job.dataset)
    cells = pd.DataFrame(pca.fit_transform(x_nd), columns=["pc_1", "pc_2"])
    cells = cells.assign(cluster=cluster_n, signature=score_n, kind=np.where(case_n, "case", "control"))
    cells.insert(0, "cell", names_n)
    # In random order, so that no kind of cell lies on top of the others.
    shown = cells.iloc[np.random.default_rng(job.seed).permutation(len(cells))[:DRAWN]]
    x, y = shown["pc_1"], shown["pc_2"]
    figure, (by_cluster, by_signature, by_disease) = panels(3, 11 / 3, 3.2)
    middles = cells.groupby("cluster")[["pc_1", "pc_2"]].median()
    colours = mpl.colormaps["tab20"](np.arange(len(middles)) % 20)
    scatter(by_cluster, x, y, colours[shown["cluster"]], s=5)
    for (cluster, *middle), colour in zip(middles.itertuples(), colours, strict=True):
        box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": colour, "alpha": 0.85}
        by_cluster.annotate(str(cluster), middle, ha="center", va="center", fontsize=7, bbox=box)
    most = np.quantile(np.abs(score_n), 0.98)
    points = scatter(by_signature, x, y, shown["signature"], s=5, cmap="RdBu_r", vmin=-most, vmax=most)
    figure.colorbar(points, ax=by_signature, label="signature (sd)", extend="both")
    scatter(by_disease, x, y, shown["kind"].map(KINDS), s=5)
    looks = {f"{kind} ({(cells['kind'] == kind).sum():,} cells)": DOT | {"color": KINDS[kind]} for kind in KINDS}
    legend(figure, "right upper", looks)
    for axis, title in ((by_cluster, "Cluster"), (by_signature, "Marker signature"), (by_disease, "Disease")):
        axis.set(title=title, xticks=[], yticks=[])
        axis.set_xlabel(f"PC 1 ({pca.explained_variance_ratio_[0]:.0%})")
        axis.set_ylabel(f"PC 2 ({pca.explained_variance_ratio_[1]:.0%})")
    save_figure(
        job.figures,
        "cells",
        figure,
        title=f"Cells of {_name(subtype)}: {job.model} on {job.dataset}",
        caption=(
            f"First two principal components of the embedding of {len(x_nd):,} cells"
            + (f" ({DRAWN:,} drawn at random are shown)" if len(x_nd) > DRAWN else "")
            + f". Clusters are numbered by size. Signature: {_formula(subtype)}, each marker in standard deviations "
            f"among these cells. Cases: {', '.join(subtype.cases)}; controls: {', '.join(subtype.controls)}."
        ),
        data=shown.sort_index(),
    )


@styled
def _clusters_figure(job: Job, table: pd.DataFrame) -> None:
    """Draw signature and odds ratio of every cluster."""
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
    save_figure(
        job.figures,
        "clusters",
        figure,
        title=f"Clusters of {_name(job.section.of(job.dataset))}: {job.model} on {job.dataset}",
        caption=(
            "Mean marker signature of each cluster, and the odds of a cell being in it, cases over controls, with 95% "
            "intervals over cells; the size of a point is the cluster's number of cells. Coloured is the cluster with "
            "the highest signature."
        ),
        data=table,
    )


def _name(subtype: Subtype) -> str:
    from wced.ontology import label_of

    return f"{label_of(subtype.cell_type)} ({subtype.cell_type})"


def _formula(subtype: Subtype) -> str:
    sides = [("mean of ", subtype.up), ("minus mean of ", subtype.down)]
    return " ".join(words + ", ".join(names) for words, names in sides if names)

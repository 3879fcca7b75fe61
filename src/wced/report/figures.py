"""The figures of the report, with captions and the numbers behind them. The same tables give the same bytes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.figure import Figure

from wced.embedding.files import read_embedding
from wced.errors import WcedError
from wced.figures import CYAN, DOT, INDIGO, OTHER, PALETTE, ROSE, WINE, save_figure, styled
from wced.figures.charts import legend, panels, scatter
from wced.learnability.genes import reliable
from wced.progress import progress
from wced.tables import UMAP, checked

COLOURS = ("cell_type", "batch")
"""Columns that colour the UMAPs of a dataset."""


def umaps(paths: Sequence[str | Path], neighbours: int, seed: int) -> pd.DataFrame:
    """Return UMAP coordinates of embeddings as rows of tables.UMAP, model after model.

    The layout has scanpy's defaults on each embedding as it is, with Euclidean distances; `neighbours` is the number of
    nearest neighbours in its graph. Raises WcedError if there are no more cells than that.
    """
    import scanpy as sc

    frames = []
    for path in progress(paths, "umap", unit="embeddings"):
        embedding = read_embedding(path)
        if embedding.n_obs <= neighbours:
            raise WcedError(f"report.umap_neighbours: {neighbours} is not below the {embedding.n_obs} cells of {path}")
        graph = AnnData(X=np.asarray(embedding.X))
        sc.pp.neighbors(graph, n_neighbors=neighbours, use_rep="X", random_state=seed)
        sc.tl.umap(graph, random_state=seed)
        xy_n2 = np.asarray(graph.obsm["X_umap"], dtype=np.float64)
        coordinates = embedding.obs[list(COLOURS)].astype(str).rename_axis("cell").reset_index()
        facts = {name: embedding.uns["wced"][name] for name in ("dataset", "model")}
        frames.append(coordinates.assign(**facts, umap_1=xy_n2[:, 0], umap_2=xy_n2[:, 1]))
    return checked(pd.concat(frames, ignore_index=True), UMAP)


@styled
def umap_figure(coordinates: pd.DataFrame, colour: str, models: Sequence[str]) -> Figure:
    """Return the UMAPs of one dataset (rows of tables.UMAP), one panel per model.

    The column `colour` gives points their colour: that of one of the nine largest classes, or grey.
    """
    sizes = coordinates.loc[coordinates["model"] == models[0], colour].value_counts()
    sizes = sizes.sort_index().sort_values(ascending=False, kind="stable")
    colours = dict(zip(sizes.index, PALETTE, strict=False))
    rest = sizes.iloc[len(colours) :]
    # Points are pixels and most of the bytes of the page, so there are no more pixels than a screen shows.
    figure, axes = panels(len(models), 2.9, 2.75, margin=(2.6, 0), dpi=110)
    for axis, model in zip(axes, models, strict=True):
        # In a fixed random order, so that no class covers the others; grey goes below.
        cells = coordinates[coordinates["model"] == model].sample(frac=1, random_state=0)
        cells = cells.iloc[np.argsort(cells[colour].isin(colours).to_numpy(), kind="stable")]
        tints = cells[colour].map(colours).fillna(OTHER)
        scatter(axis, cells["umap_1"], cells["umap_2"], tints, s=np.clip(6000 / len(cells), 1, 10))
        axis.set(title=model, xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    looks = {f"{_short(name)} ({sizes[name]:,})": DOT | {"color": tint} for name, tint in colours.items()}
    looks |= {f"{len(rest)} others ({rest.sum():,})": DOT | {"color": OTHER}} if len(rest) else {}
    legend(figure, "right center", looks, title=colour.replace("_", " ") + " (cells)", alignment="left")
    return figure


def save_umaps(coordinates: pd.DataFrame, neighbours: int, folder: Path) -> None:
    """Write `umap_<dataset>_<colour>` for each of `COLOURS`: rows of tables.UMAP of one dataset, a panel per model."""
    dataset, models = coordinates["dataset"].iloc[0], list(dict.fromkeys(coordinates["model"]))
    cells = coordinates["model"].eq(models[0]).sum()
    for colour in COLOURS:
        words = colour.replace("_", " ")
        classes = coordinates.groupby(["model", colour], sort=False)
        save_figure(
            folder,
            f"umap_{dataset}_{colour}",
            umap_figure(coordinates, colour, models),
            title=f"UMAPs of {dataset} by {words}",
            caption=(
                f"Each panel lays out the same {cells:,} cells by one embedding ({neighbours} neighbours, Euclidean "
                "distances). Distances between groups and their sizes have no meaning; whether colours mix does. The "
                "nine largest classes have a colour. The numbers are the cells and the median position of each "
                f"{words}; report/umap/{dataset}.parquet has all cells."
            ),
            data=classes.agg(
                cells=("cell", "size"), median_umap_1=("umap_1", "median"), median_umap_2=("umap_2", "median")
            ).reset_index(),
        )


@styled
def loss_figure(metrics: pd.DataFrame) -> Figure:
    """Return one panel per loss or score of tables.METRICS: training (thin), validation (dots) of each checkpoint."""
    names = list(dict.fromkeys(metrics["metric"]))
    names.sort(key=lambda name: (name != "loss", name.endswith("_accuracy")))
    checkpoints = dict.fromkeys(metrics["checkpoint"])
    colours = {checkpoint: PALETTE[i % len(PALETTE)] for i, checkpoint in enumerate(checkpoints)}
    columns = min((4, 3), key=lambda columns: -len(names) % columns)  # the fewest empty panels
    figure, axes = panels(len(names), 2.9, 2.2, columns=columns, margin=(0, 0.4))
    for axis, name in zip(axes, names, strict=True):
        for checkpoint, colour in colours.items():
            rows = metrics[(metrics["metric"] == name) & (metrics["checkpoint"] == checkpoint)]
            train, validation = (rows[rows["split"] == split] for split in ("train", "validation"))
            axis.plot(train["step"], train["value"], color=colour, alpha=0.4, lw=1)
            axis.plot(validation["step"], validation["value"], color=colour, marker="o", ms=3, lw=1.5)
        target, accuracy = name.removesuffix("_accuracy"), name.endswith("_accuracy")
        target = target.removesuffix("_ontology_term_id").replace("_", " ")
        axis.set_xlabel("step")
        if accuracy:
            axis.set_ylim(0, 1)
        axis.set_title("total loss" if name == "loss" else f"{target} {'accuracy' if accuracy else 'loss'}")
    looks = {checkpoint: {"color": colour} for checkpoint, colour in colours.items()}
    looks |= {
        "train": {"color": "grey", "alpha": 0.5, "lw": 1},
        "validation": {"color": "grey", "marker": "o", "ms": 3},
    }
    legend(figure, "upper center", looks, ncols=len(looks))
    return figure


def save_losses(metrics: pd.DataFrame, folder: Path) -> None:
    """Write `losses`: losses and accuracies of all checkpoints (rows of tables.METRICS) by step."""
    save_figure(
        folder,
        "losses",
        loss_figure(metrics),
        title="Losses and accuracies by step",
        caption=(
            "Thin: training batches; dots: the validation cells after each epoch. Masked language modelling and "
            "whole-cell decoding reconstruct different targets, so their losses cannot be compared."
        ),
        data=metrics,
    )


@styled
def gene_figure(errors: pd.DataFrame, checkpoints: Sequence[str], min_nonzero: int) -> Figure:
    """Return, for every decoder, how well genes are quantified and detected against how rarely they are expressed.

    `errors` has rows of tables.GENE_ERRORS, one epoch of each checkpoint; `checkpoints` give the order of the columns,
    and `min_nonzero` validation cells must express a gene for it to be shown.
    """
    pairs = errors.groupby(["checkpoint", "decoder"]).size().index
    shown = [(name, decoder) for name in checkpoints for decoder in ("wced", "mlm") if (name, decoder) in pairs]
    errors = reliable(errors, min_nonzero)
    figure, axes = panels(2 * len(shown), 4.4, 2.9, columns=len(shown), sharex=True, sharey="row")
    for (checkpoint, decoder), mae, auc in zip(shown, *axes.reshape(2, -1), strict=True):
        genes = errors[(errors["checkpoint"] == checkpoint) & (errors["decoder"] == decoder)]
        genes = genes.sort_values("zero_fraction")
        beats = genes["improvement"] > 0
        for axis, value in ((mae, "rescaled_mae"), (auc, "detection_auc")):
            scatter(axis, genes["zero_fraction"], genes[value], np.where(beats, ROSE, INDIGO), s=3, alpha=0.5)
        # The null differs between genes; its line is the median over bins of a fiftieth of the axis.
        bins = genes.groupby((genes["zero_fraction"] * 50).clip(upper=49).astype(int))
        mae.plot(bins["zero_fraction"].median(), bins["rescaled_null_mae"].median(), color="black", lw=1.5, ls="--")
        auc.axhline(0.5, color="black", lw=1, ls="--")
        auc.set(xlabel="share of validation cells that do not express the gene", xlim=(0, 1), ylim=(None, 1.01))
        several = sum(name == checkpoint for name, _ in shown) > 1
        title = f"{checkpoint} ({decoder})" if several else checkpoint
        mae.set_title(f"{title}: {beats.sum():,} of {len(genes):,} genes beat the null")
    if len(errors):
        axes[0].set_ylim(0, errors[["rescaled_mae", "rescaled_null_mae"]].quantile(0.995).max() * 1.1)
    axes[0].set_ylabel("rescaled MAE where expressed\n(lower is better)")
    axes[len(shown)].set_ylabel("detection AUC\n(higher is better)")
    looks = {"gene": DOT | {"color": INDIGO}, "gene that beats the null's MAE": DOT | {"color": ROSE}}
    looks["null: mean of the non-zero values (median gene); chance"] = {"color": "black", "ls": "--"}
    legend(figure, "upper center", looks, ncols=3)
    return figure


def save_genes(errors: pd.DataFrame, checkpoints: Sequence[str], min_nonzero: int, folder: Path) -> None:
    """Write `genes`: errors of every gene by how rarely it is expressed; parameters as in `gene_figure`."""
    columns = ["checkpoint", "decoder", "gene_id", "n_nonzero", "zero_fraction", "rescaled_mae", "rescaled_null_mae"]
    save_figure(
        folder,
        "genes",
        gene_figure(errors, checkpoints, min_nonzero),
        title="Gene errors by sparsity",
        caption=(
            f"Each dot is a gene that at least {min_nonzero} validation cells express, at the last epoch. Rescaled "
            "MAE: mean absolute error on log1p(counts per 10,000) where the gene is expressed, with the prediction 0 "
            "where the model calls the gene absent, divided by the gene's mean there. The null predicts that mean. "
            "Genes that a checkpoint's input leaves out are shown if they were scored."
        ),
        data=errors.loc[errors["n_nonzero"] >= min_nonzero, [*columns, "detection_auc"]],
    )


QC_METRICS = {"counts": "total counts", "genes": "expressed genes", "mt_fraction": "mitochondrial fraction"}
"""Metrics of tables.QC_HISTOGRAMS and the names of their axes."""


@styled
def qc_figure(histograms: pd.DataFrame, qc: pd.DataFrame, most: int = 30) -> Figure:
    """Return tables.QC_HISTOGRAMS with the limits of tables.QC: a row for each of the datasets that lost most cells."""
    metrics = [name for name in QC_METRICS if (histograms["metric"] == name).any()]
    sums = histograms[histograms["metric"] == metrics[0]].groupby("dataset")[["cells", "kept"]].sum()
    lost = (sums["cells"] - sums["kept"]).sort_values(ascending=False, kind="stable")
    shown = sorted(lost.index[:most], reverse=True)
    # Rules are named after their metric: low_counts, outlier_genes, high_mt.
    limits = qc.assign(metric=qc["rule"].str.split("_").str[-1].replace("mt", "mt_fraction"))
    limits = limits.groupby(["dataset", "metric"]).agg(low=("low", "max"), high=("high", "min"))
    bins_by = dict(list(histograms.groupby(["dataset", "metric"])))
    figure, axes = panels(len(metrics), 2.6, 0.42 * len(shown) + 1.3, margin=(2.2, 0), sharey=True)
    for axis, metric in zip(axes, metrics, strict=True):
        for y, dataset in enumerate(shown):
            if (dataset, metric) not in bins_by:
                continue
            bins = bins_by[dataset, metric].set_index("low")
            # Bins without cells have no row, but their edges are among those of the others.
            edges = np.unique(np.concatenate([bins.index, bins["high"]]))
            for column, colour in (("cells", OTHER), ("kept", CYAN)):
                height = bins[column].reindex(edges[:-1], fill_value=0) / bins["cells"].max() * 0.85
                axis.stairs(y + height, edges, baseline=y, fill=True, color=colour)
            if (dataset, metric) in limits.index:
                ends = limits.loc[(dataset, metric)].dropna()
                axis.vlines(ends[ends > 0], y, y + 0.85, color=WINE, lw=1.2)
        axis.set(xlabel=QC_METRICS[metric], xscale="linear" if metric == "mt_fraction" else "log")
        if metric == "mt_fraction":
            axis.set_xlim(0, _end_of_fractions(histograms[histograms["dataset"].isin(shown)], limits))
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    kept = (sums["kept"] / sums["cells"])[shown]
    labels = [f"{_short(name, 24)}  {share:.0%}" for name, share in kept.items()]
    axes[0].set_yticks(np.arange(len(shown)) + 0.1, labels, verticalalignment="bottom")
    axes[0].set_ylim(-0.1, len(shown))
    looks = {"kept (share beside the name)": CYAN, "removed": OTHER, "limits": {"color": WINE, "lw": 1.2}}
    legend(figure, "upper center", looks, ncols=3)
    return figure


def save_qc(histograms: pd.DataFrame, qc: pd.DataFrame, folder: Path) -> None:
    """Write `qc`: distributions (rows of tables.QC_HISTOGRAMS) with the limits of quality control (tables.QC)."""
    save_figure(
        folder,
        "qc",
        qc_figure(histograms, qc),
        title="Counts, genes and mitochondrial fractions of each dataset, with the limits of quality control",
        caption=(
            "All cells of each dataset (if there are more than 30 datasets, those that lost the most cells). A cell "
            "within the limits may be removed for another reason; the table of the corpus counts all removed cells. "
            "Limits are the strictest of the rules: fixed ones, and medians plus or minus MADs of the dataset."
        ),
        data=histograms,
    )


def _end_of_fractions(histograms: pd.DataFrame, limits: pd.DataFrame) -> float:
    """Return the end of an axis of mitochondrial fractions: beyond all limits and 99.5% of the cells."""
    bins = histograms[histograms["metric"] == "mt_fraction"].groupby("high")["cells"].sum()
    most = bins.index[np.searchsorted(bins.cumsum(), 0.995 * bins.sum())]
    highest = limits["high"][limits.index.get_level_values("metric") == "mt_fraction"].max()
    return min(1.0, 1.1 * max(most, 0.0 if np.isnan(highest) else highest))


def _short(name: str, width: int = 34) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"

"""Figures of the report. The same tables give the same bytes."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from wced.figures import OTHER, PALETTE, STYLE
from wced.learnability.genes import reliable


def umap_figure(table: pd.DataFrame, colour: str, models: Sequence[str]) -> Figure:
    """Return the UMAPs of one dataset, one panel per model.

    Parameters
    ----------
    table
        Rows of tables.UMAP of one dataset.
    colour
        `cell_type` or `batch`: the column that gives points their colour. The nine largest classes have a colour.
    models
        Models, in the order of the panels.
    """
    sizes = table.loc[table["model"] == models[0], colour].value_counts()
    sizes = sizes.sort_index().sort_values(ascending=False, kind="stable")
    coloured, rest = list(sizes.index[: len(PALETTE)]), sizes.iloc[len(PALETTE) :]
    colours = dict(zip(coloured, PALETTE, strict=False))
    columns = min(3, len(models))
    n_rows = -(-len(models) // columns)
    with mpl.rc_context(STYLE):
        # The points are pixels, and most of the page's bytes: no more of them than a screen shows.
        figure = Figure(figsize=(2.9 * columns + 2.6, 2.75 * n_rows), layout="constrained", dpi=110)
        axes = figure.subplots(n_rows, columns, squeeze=False).ravel()
        for axis in axes[len(models) :]:
            axis.remove()
        for axis, model in zip(axes, models, strict=False):
            cells = table[table["model"] == model]
            # In a fixed random order, so that no class lies on top of the others; grey goes below.
            cells = cells.sample(frac=1, random_state=0)
            cells = cells.iloc[np.argsort(cells[colour].isin(coloured).to_numpy(), kind="stable")]
            axis.scatter(
                cells["umap_1"],
                cells["umap_2"],
                c=cells[colour].map(colours).fillna(OTHER),
                s=np.clip(6000 / len(cells), 1, 10),
                linewidths=0,
                rasterized=True,
            )
            axis.set(title=model, xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        handles = [_dot(colours[name], f"{_short(name)} ({sizes[name]:,})") for name in coloured]
        if len(rest):
            handles.append(_dot(OTHER, f"{len(rest)} others ({rest.sum():,})"))
        figure.legend(
            handles=handles,
            loc="outside right center",
            title=colour.replace("_", " ") + " (cells)",
            fontsize=8,
            alignment="left",
        )
    return figure


def loss_figure(metrics: pd.DataFrame, checkpoints: Sequence[str]) -> Figure:
    """Return one panel per loss or score: training (thin) and validation (dots) of every checkpoint over its steps.

    Parameters
    ----------
    metrics
        Rows of tables.METRICS.
    checkpoints
        Checkpoints, in the order of their colours.
    """
    names = list(dict.fromkeys(metrics["metric"]))
    names.sort(key=lambda name: (name != "loss", name.endswith("_accuracy")))
    columns = min(len(names), min((4, 3), key=lambda wide: -len(names) % wide))  # the fewest empty places
    n_rows = -(-len(names) // columns)
    colours = {checkpoint: PALETTE[i % len(PALETTE)] for i, checkpoint in enumerate(checkpoints)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.9 * columns, 2.2 * n_rows + 0.4), layout="constrained")
        axes = figure.subplots(n_rows, columns, squeeze=False).ravel()
        for axis in axes[len(names) :]:
            axis.remove()
        for axis, name in zip(axes, names, strict=False):
            for checkpoint in checkpoints:
                rows = metrics[(metrics["metric"] == name) & (metrics["checkpoint"] == checkpoint)]
                train, validation = (rows[rows["split"] == split] for split in ("train", "validation"))
                axis.plot(train["step"], train["value"], color=colours[checkpoint], alpha=0.4, lw=1)
                axis.plot(validation["step"], validation["value"], color=colours[checkpoint], marker="o", ms=3, lw=1.5)
            accuracy = name.endswith("_accuracy")
            what = name.removesuffix("_accuracy").removesuffix("_ontology_term_id").replace("_", " ")
            axis.set(
                title="total loss" if name == "loss" else f"{what} {'accuracy' if accuracy else 'loss'}", xlabel="step"
            )
            if accuracy:
                axis.set_ylim(0, 1)
        handles = [_line(colours[checkpoint], checkpoint) for checkpoint in checkpoints]
        handles += [_line("grey", "train", alpha=0.5, lw=1), _line("grey", "validation", marker="o", ms=3)]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def gene_figure(errors: pd.DataFrame, checkpoints: Sequence[str], min_nonzero: int) -> Figure:
    """Return, for every decoder, how well genes are quantified and detected against how rarely they are expressed.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS, one epoch of each checkpoint.
    checkpoints
        Checkpoints, in the order of the columns.
    min_nonzero
        Validation cells that must express a gene for it to be shown.
    """
    pairs = errors.groupby(["checkpoint", "decoder"]).size().index
    shown = [(name, decoder) for name in checkpoints for decoder in ("wced", "mlm") if (name, decoder) in pairs]
    errors = reliable(errors, min_nonzero)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(shown), 5.8), layout="constrained")
        axes = figure.subplots(2, len(shown), squeeze=False, sharex=True, sharey="row")
        for column, (checkpoint, decoder) in enumerate(shown):
            genes = errors[(errors["checkpoint"] == checkpoint) & (errors["decoder"] == decoder)]
            genes = genes.sort_values("zero_fraction")
            mae, auc = axes[:, column]
            beats = genes["improvement"] > 0
            for axis, value in ((mae, "rescaled_mae"), (auc, "detection_auc")):
                axis.scatter(
                    genes["zero_fraction"],
                    genes[value],
                    c=np.where(beats, PALETTE[1], PALETTE[0]),
                    s=3,
                    alpha=0.5,
                    linewidths=0,
                    rasterized=True,
                )
            # The null differs from gene to gene; its line is the median over bins of a fiftieth of the axis.
            bins = genes.groupby((genes["zero_fraction"] * 50).clip(upper=49).astype(int))
            mae.plot(bins["zero_fraction"].median(), bins["rescaled_null_mae"].median(), color="black", lw=1.5, ls="--")
            auc.axhline(0.5, color="black", lw=1, ls="--")
            auc.set(xlabel="share of validation cells that do not express the gene", xlim=(0, 1), ylim=(None, 1.01))
            several = sum(name == checkpoint for name, _ in shown) > 1
            title = f"{checkpoint} ({decoder})" if several else checkpoint
            mae.set_title(f"{title}: {beats.sum():,} of {len(genes):,} genes beat the null")
        if len(errors):
            axes[0, 0].set_ylim(0, errors[["rescaled_mae", "rescaled_null_mae"]].quantile(0.995).max() * 1.1)
        axes[0, 0].set_ylabel("rescaled MAE where expressed\n(lower is better)")
        axes[1, 0].set_ylabel("detection AUC\n(higher is better)")
        figure.legend(
            handles=[
                _dot(PALETTE[0], "gene"),
                _dot(PALETTE[1], "gene that beats the null's MAE"),
                _line("black", "null: mean of the non-zero values (median gene); chance", ls="--"),
            ],
            loc="outside upper center",
            ncols=3,
        )
    return figure


QC_METRICS = {"counts": "total counts", "genes": "expressed genes", "mt_fraction": "mitochondrial fraction"}
"""Metrics of tables.QC_HISTOGRAMS and the names of their axes."""

_METRIC_OF_RULE = {
    **dict.fromkeys(("low_counts", "high_counts", "outlier_counts"), "counts"),
    **dict.fromkeys(("low_genes", "outlier_genes"), "genes"),
    **dict.fromkeys(("high_mt", "outlier_mt"), "mt_fraction"),
}


def qc_figure(histograms: pd.DataFrame, qc: pd.DataFrame, most: int = 30) -> Figure:
    """Return the distributions of each dataset's cells and the limits of quality control: one row per dataset.

    Parameters
    ----------
    histograms
        Rows of tables.QC_HISTOGRAMS.
    qc
        Rows of tables.QC.
    most
        Datasets that are shown at most: those that lost the most cells.
    """
    metrics = [name for name in QC_METRICS if (histograms["metric"] == name).any()]
    sums = histograms[histograms["metric"] == metrics[0]].groupby("dataset")[["cells", "kept"]].sum()
    lost = (sums["cells"] - sums["kept"]).sort_values(ascending=False, kind="stable")
    shown = sorted(lost.index[:most], reverse=True)
    limits = qc.assign(metric=qc["rule"].map(_METRIC_OF_RULE)).groupby(["dataset", "metric"])
    limits = limits.agg(low=("low", "max"), high=("high", "min"))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(metrics) + 2.2, 0.42 * len(shown) + 1.3), layout="constrained")
        axes = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for axis, metric in zip(axes, metrics, strict=True):
            parts = dict(list(histograms[histograms["metric"] == metric].groupby("dataset")))
            for place, dataset in enumerate(shown):
                if dataset not in parts:
                    continue
                bins = parts[dataset].set_index("low")
                # Bins without cells have no row: their edges are there, and nothing begins at them.
                edges = np.unique(np.concatenate([bins.index, bins["high"]]))
                for column, colour in (("cells", OTHER), ("kept", PALETTE[4])):
                    height = bins[column].reindex(edges[:-1], fill_value=0) / bins["cells"].max() * 0.85
                    axis.stairs(place + height, edges, baseline=place, fill=True, color=colour)
                if (dataset, metric) in limits.index:
                    ends = limits.loc[(dataset, metric)].dropna()
                    axis.vlines(ends[ends > 0], place, place + 0.85, color=PALETTE[5], lw=1.2)
            axis.set(xlabel=QC_METRICS[metric], xscale="linear" if metric == "mt_fraction" else "log")
            if metric == "mt_fraction":
                axis.set_xlim(0, _end_of_fractions(histograms[histograms["dataset"].isin(shown)], limits))
            axis.tick_params(axis="y", length=0)
            axis.spines["left"].set_visible(False)
        kept = (sums["kept"] / sums["cells"])[shown]
        labels = [f"{_short(name, 24)}  {share:.0%}" for name, share in kept.items()]
        axes[0].set_yticks(np.arange(len(shown)) + 0.1, labels, verticalalignment="bottom")
        axes[0].set_ylim(-0.1, len(shown))
        figure.legend(
            handles=[
                _patch(PALETTE[4], "kept (share beside the name)"),
                _patch(OTHER, "removed"),
                _line(PALETTE[5], "limits", lw=1.2),
            ],
            loc="outside upper center",
            ncols=3,
        )
    return figure


def _end_of_fractions(histograms: pd.DataFrame, limits: pd.DataFrame) -> float:
    """Return where an axis of mitochondrial fractions ends: beyond all limits and 99.5% of the cells."""
    bins = histograms[histograms["metric"] == "mt_fraction"].groupby("high")["cells"].sum()
    most = bins.index[np.searchsorted(bins.cumsum(), 0.995 * bins.sum())]
    highest = limits["high"][limits.index.get_level_values("metric") == "mt_fraction"].max()
    return min(1.0, 1.1 * max(most, 0.0 if np.isnan(highest) else highest))


def _dot(colour: str, label: str) -> mpl.lines.Line2D:
    return mpl.lines.Line2D([], [], marker="o", ls="", color=colour, markersize=6, markeredgewidth=0, label=label)


def _line(colour: str, label: str, **style: object) -> mpl.lines.Line2D:
    return mpl.lines.Line2D([], [], color=colour, label=label, **style)


def _patch(colour: str, label: str) -> mpl.patches.Patch:
    return mpl.patches.Patch(color=colour, label=label, linewidth=0)


def _short(name: str, width: int = 34) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"

"""The figure of a speedrun: scores against minutes of training, beside what takes no training."""

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from wced.figures import PALETTE, STYLE

TITLES = {"avg_bio": "AvgBio", "macro_f1": "probe, macro F1"}
"""What metrics are called."""
LINES = {
    "untrained": (PALETTE[6], ":"),
    "pca": (PALETTE[1], "--"),
    "hvg": (PALETTE[2], "-."),
    "corpus_pca": (PALETTE[3], (0, (1, 1, 4, 1))),
}
"""Colour and style of what takes no training."""


def figure(curve: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """Return a panel for each dataset (columns) and metric (rows): the recipe's seeds (thin) and their mean.

    Parameters
    ----------
    curve
        Rows of tables.SPEEDRUN of one recipe. What has no value is left out.
    metrics
        Metrics shown, each in [0, 1].
    """
    datasets = list(dict.fromkeys(curve["dataset"]))
    with mpl.rc_context(STYLE):
        result = Figure(figsize=(3.1 * len(datasets) + 1.4, 2.5 * len(metrics) + 0.4), layout="constrained")
        axes = result.subplots(len(metrics), len(datasets), squeeze=False, sharex=True, sharey="row")
        for row, metric in zip(axes, metrics, strict=True):
            for axis, dataset in zip(row, datasets, strict=True):
                rows = curve[(curve["metric"] == metric) & (curve["dataset"] == dataset)]
                _panel(axis, rows)
                axis.set_title(f"{dataset}: {TITLES.get(metric, metric)}")
        for axis in axes[-1]:
            axis.set_xlabel("minutes of training")
        handles = [mpl.lines.Line2D([], [], color=PALETTE[0], marker="o", ms=3, label=curve["recipe"].iloc[0])]
        handles += [
            mpl.lines.Line2D([], [], color=colour, ls=style, label=name) for name, (colour, style) in LINES.items()
        ]
        result.legend(handles=handles, loc="outside right upper")
    return result


def _panel(axis: mpl.axes.Axes, rows: pd.DataFrame) -> None:
    """Draw one metric of one dataset."""
    way = rows[rows["model"].isin(["untrained", "recipe"])]
    for _, seed in way.groupby("seed"):
        axis.plot(seed["minutes"], seed["value"], color=PALETTE[0], lw=0.7, alpha=0.5)
    mean = way.groupby("minutes")["value"].mean()
    axis.plot(mean.index, mean, color=PALETTE[0], marker="o", ms=3, lw=1.5)
    for name, (colour, style) in LINES.items():
        values = rows.loc[rows["model"] == name, "value"].dropna()
        if len(values):
            axis.axhline(values.mean(), color=colour, ls=style, lw=1)

"""The figure of a speedrun: scores against minutes of training, beside what takes no training."""

from collections.abc import Sequence
from itertools import product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wced.figures import GREEN, INDIGO, ROSE, SAND, TEAL, styled
from wced.figures.charts import legend, panels

TITLES = {"avg_bio": "AvgBio", "macro_f1": "probe, macro F1"}
"""What metrics are called."""
LINES = {
    "untrained": (TEAL, ":"),
    "pca": (ROSE, "--"),
    "hvg": (GREEN, "-."),
    "corpus_pca": (SAND, (0, (1, 1, 4, 1))),
}
"""Colour and style of what takes no training."""


@styled
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
    result, axes = panels(
        len(metrics) * len(datasets), 3.1, 2.5, columns=len(datasets), margin=(1.4, 0.4), sharex=True, sharey="row"
    )
    for axis, (metric, dataset) in zip(axes, product(metrics, datasets), strict=True):
        _panel(axis, curve[(curve["metric"] == metric) & (curve["dataset"] == dataset)])
        axis.set_title(f"{dataset}: {TITLES.get(metric, metric)}")
    for axis in axes[-len(datasets) :]:
        axis.set_xlabel("minutes of training")
    looks = {curve["recipe"].iloc[0]: {"color": INDIGO, "marker": "o", "ms": 3}}
    looks |= {name: {"color": colour, "ls": style} for name, (colour, style) in LINES.items()}
    legend(result, "right upper", looks)
    return result


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw one metric of one dataset."""
    recipe = rows[rows["model"].isin(["untrained", "recipe"])]
    for _, seed in recipe.groupby("seed"):
        axis.plot(seed["minutes"], seed["value"], color=INDIGO, lw=0.7, alpha=0.5)
    mean = recipe.groupby("minutes")["value"].mean()
    axis.plot(mean.index, mean, color=INDIGO, marker="o", ms=3, lw=1.5)
    for name, (colour, style) in LINES.items():
        values = rows.loc[rows["model"] == name, "value"].dropna()
        if len(values):
            axis.axhline(values.mean(), color=colour, ls=style, lw=1)

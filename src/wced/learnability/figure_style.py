"""What the figures of gene learnability share: colours, panels, names."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wced.learnability.analysis import Analysis
from wced.learnability.models import Model

TIERS = {"1": "#117733", "2": "#44AA99", "3": "#DDCC77", "4": "#CC6677", "": "#BBBBBB"}
"""Colour of each tier (Paul Tol's `muted`), and of families without one."""
WINNER, LOSER, NEITHER = "#117733", "#AA3355", "#B8BCC4"
"""Colours of genes."""
MODELS = ("#332288", "#88CCEE", "#882255", "#DDCC77", "#44AA99", "#999933", "#CC6677", "#117733")
"""Colours of models, in their order."""

FEW = 10
"""Genes below which neither a violin nor a winner rate is drawn."""


def panels(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of n panels, three in a row at most; width and height of a panel in inches."""
    columns = min(3, n)
    figure = Figure(figsize=(width * columns, height * -(-n // columns)), layout="constrained")
    axes = figure.subplots(-(-n // columns), columns, squeeze=False).ravel()
    for axis in axes[n:]:
        axis.remove()
    return figure, list(axes[:n])


def slug(model: Model) -> str:
    """Return a model's part of a file name."""
    return f"{model.checkpoint}_{model.decoder}"


def pair_name(a: Model, b: Model) -> str:
    """Return the stem of the file of a figure of two models."""
    return f"z_{slug(a)}_{slug(b)}"


def rows_of(analysis: Analysis, table: str, model: Model) -> pd.DataFrame:
    """Return the rows of a table that are of a model."""
    rows = analysis.tables[table]
    return rows[(rows["checkpoint"] == model.checkpoint) & (rows["decoder"] == model.decoder)]


def dot(colour: str, label: str) -> mpl.lines.Line2D:
    """Return a legend's dot."""
    return mpl.lines.Line2D([], [], marker="o", ls="", color=colour, markersize=5, markeredgewidth=0, label=label)

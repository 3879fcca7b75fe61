"""What figures are made of: panels and their legends, names, points, dots with intervals, heat maps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch


def panels(
    count: int,
    width: float,
    height: float,
    *,
    columns: int = 3,
    margin: tuple[float, float] = (0, 0),
    dpi: float | None = None,
    **shared: Any,
) -> tuple[Figure, np.ndarray]:
    """Return a figure of some panels, and their axes from left to right and from above.

    Parameters
    ----------
    count
        Number of panels.
    width, height
        Of a panel, in inches.
    columns
        Most panels in a row.
    margin
        Width and height of the figure beyond its panels, in inches.
    dpi
        Pixels per inch of what is drawn as pixels; None for the style's.
    shared
        Options of `Figure.subplots`.
    """
    columns = max(min(columns, count), 1)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns + margin[0], height * rows + margin[1]), dpi=dpi)
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def legend(figure: Figure, where: str, looks: Mapping[str, str | Mapping[str, Any]], **options: Any) -> None:
    """Add a legend outside the panels.

    Parameters
    ----------
    figure
        The figure.
    where
        Side of the figure, `upper center` for example.
    looks
        Of each entry its colour, which is shown as a patch, or the properties of a `Line2D`.
    options
        Of `Figure.legend`.
    """
    handles = [
        Patch(color=look, label=label, lw=0) if isinstance(look, str) else Line2D([], [], label=label, **look)
        for label, look in looks.items()
    ]
    if handles:
        figure.legend(handles=handles, loc=f"outside {where}", **options)


def name_rows(axis: Axes, names: Sequence[str], **text: Any) -> None:
    """Name the rows of a panel, row 0 at the top, and draw a grid that helps to compare them."""
    axis.set_yticks(range(len(names)), names, **text)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")


def name_points(
    axis: Axes,
    points: Iterable[tuple[float, float, str]],
    *,
    apart: tuple[float, float] = (1 / 7, 1 / 30),
    most: int | None = None,
    **style: Any,
) -> None:
    """Write names beside points, without those that would lie upon another.

    Parameters
    ----------
    axis
        A panel whose limits are final.
    points
        x, y and name, the most important first.
    apart
        Width and height that a name takes up, as shares of the panel.
    most
        Most names.
    style
        Options of `Axes.annotate`.
    """
    width, height = np.ptp(axis.get_xlim()) * apart[0], np.ptp(axis.get_ylim()) * apart[1]
    named: list[tuple[float, float]] = []
    for x, y, name in points:
        if len(named) == most:
            return
        if all(abs(x - other_x) > width or abs(y - other_y) > height for other_x, other_y in named):
            named.append((x, y))
            axis.annotate(name, (x, y), **{"xytext": (3, 2), "textcoords": "offset points", "fontsize": 7} | style)


def scatter(axis: Axes, x: Any, y: Any, c: Any, *, s: Any = 4, **style: Any) -> Any:
    """Draw many points, as pixels also where the rest is vectors; parameters as in `Axes.scatter`."""
    return axis.scatter(x, y, c=c, s=s, **{"linewidths": 0, "rasterized": True} | style)


def intervals(axis: Axes, scores: pd.DataFrame, at: Any, colours: Any, *, upright: bool = False, s: Any = 36) -> None:
    """Draw scores as dots with the lines of their intervals.

    Parameters
    ----------
    axis
        Where to draw.
    scores
        `value`, `ci_low` and `ci_high` of each dot.
    at
        Position of each dot on the axis that is not the scores'.
    colours
        Colour of each dot or of all.
    upright
        Whether scores are on the y axis.
    s
        Areas of the dots.
    """
    lines = axis.vlines if upright else axis.hlines
    lines(at, scores["ci_low"], scores["ci_high"], colors=colours, lw=1.6, zorder=2)
    x, y = (at, scores["value"]) if upright else (scores["value"], at)
    axis.scatter(x, y, c=colours, s=s, zorder=3)


def heat_map(axis: Axes, shares: pd.DataFrame, *, label: str) -> None:
    """Draw a table of shares (0 to 1) with their values; its index and columns name rows and columns."""
    image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axis.set_xticks(range(shares.shape[1]), shares.columns, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(shares.shape[0]), shares.index)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axis.figure.colorbar(image, ax=axis, label=label, shrink=0.8)

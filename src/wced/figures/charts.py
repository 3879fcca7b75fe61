"""Parts of figures: panels and their legends, names, points, dots with intervals, heat maps."""

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
    """Return a figure with `count` panels in rows of at most `columns`, and their axes in reading order.

    `width` and `height` of a panel, and the `margin` of the figure around all of them, are in inches. `dpi` is that of
    parts in pixels; None for the style's. `shared` are options of `Figure.subplots`.
    """
    columns = max(min(columns, count), 1)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns + margin[0], height * rows + margin[1]), dpi=dpi)
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def legend(figure: Figure, where: str, looks: Mapping[str, str | Mapping[str, Any]], **options: Any) -> None:
    """Add a legend outside the panels, on the side `where` (such as `upper center`), unless it has no entries.

    `looks` has for each entry its colour, for a patch, or the properties of a `Line2D`. `options` are those of
    `Figure.legend`.
    """
    handles = [
        Patch(color=look, label=label, lw=0) if isinstance(look, str) else Line2D([], [], label=label, **look)
        for label, look in looks.items()
    ]
    if handles:
        figure.legend(handles=handles, loc=f"outside {where}", **options)


def name_rows(axis: Axes, names: Sequence[str], **text: Any) -> None:
    """Name the rows of a panel, row 0 at the top, and add a grid to compare them by."""
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
    """Write names beside points (x, y and name, the most important first), except where they would overlap.

    The limits of the panel must be final. `apart` are the width and height of a name as shares of the panel, `most` is
    the largest number of names, and `style` has options of `Axes.annotate`.
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
    """Plot many points, as pixels even if the rest is vectors; parameters as in `Axes.scatter`."""
    return axis.scatter(x, y, c=c, s=s, **{"linewidths": 0, "rasterized": True} | style)


def intervals(axis: Axes, scores: pd.DataFrame, at: Any, colours: Any, *, upright: bool = False, s: Any = 36) -> None:
    """Plot scores as dots of area `s` with the lines of their intervals.

    `scores` has `value`, `ci_low` and `ci_high`, which are on the y axis if `upright`; `at` are the positions on the
    other axis.
    """
    lines = axis.vlines if upright else axis.hlines
    lines(at, scores["ci_low"], scores["ci_high"], colors=colours, lw=1.6, zorder=2)
    x, y = (at, scores["value"]) if upright else (scores["value"], at)
    axis.scatter(x, y, c=colours, s=s, zorder=3)


def heat_map(axis: Axes, shares: pd.DataFrame, *, label: str) -> None:
    """Plot a table of shares (0 to 1) with their values; its index and columns name rows and columns."""
    image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axis.set_xticks(range(shares.shape[1]), shares.columns, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(shares.shape[0]), shares.index)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axis.figure.colorbar(image, ax=axis, label=label, shrink=0.8)

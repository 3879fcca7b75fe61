"""The Cell Ontology's nodes that hold the probability of some cells, drawn in layers from the root down."""

from collections.abc import Sequence
from itertools import pairwise
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

WIDTH, HEIGHT = 1.0, 0.62
"""Of a node's box, where layers are 1 apart."""
SPACE, PASSAGE = 1.12, 0.35
"""Widths that a node, and a link that passes between the nodes of a layer, take up."""
SWEEPS = 24
"""Turns in which layers are sorted, and then in which they are moved."""

Route = list[tuple[float, int]]


def layout(parents: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, dict[tuple[int, int], Route]]:
    """Place the nodes of a directed acyclic graph in layers, and route the links that skip layers between the boxes.

    A node's layer is the length of the longest path from a node without parents. In a layer nodes stand in the order of
    the mean place of their neighbours, swept down and up (Sugiyama et al. 1981), as near to it as their widths allow.

    Parameters
    ----------
    parents
        Parents of each node, a parent before its children.

    Returns
    -------
    x_t
        Place of the middle of each node.
    layer_t
        Layer of each node, from 0.
    routes
        For each (parent, child) the places (x, layer) between which the link is drawn, both ends included.
    """
    layer_t = np.zeros(len(parents), dtype=int)
    for node, above in enumerate(parents):
        layer_t[node] = 1 + max((layer_t[parent] for parent in above), default=-1)
    # A link over several layers has a place of its own in each that it passes: (parent, child, layer); a node: (node,).
    layers = [[(int(node),) for node in np.flatnonzero(layer_t == layer)] for layer in range(layer_t.max() + 1)]
    passed: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    up: dict[tuple[int, ...], list[tuple[int, ...]]] = {place: [] for row in layers for place in row}
    for child, above in enumerate(parents):
        for parent in above:
            between = [(parent, child, layer) for layer in range(layer_t[parent] + 1, layer_t[child])]
            for place in between:
                layers[place[2]].append(place)
            passed[parent, child] = [(parent,), *between, (child,)]
            for start, end in pairwise(passed[parent, child]):
                up.setdefault(end, []).append(start)
    down: dict[tuple[int, ...], list[tuple[int, ...]]] = {place: [] for place in up}
    for end, starts in up.items():
        for start in starts:
            down[start].append(end)
    x = {place: i - (len(row) - 1) / 2 for row in layers for i, place in enumerate(row)}
    for sweep in range(2 * SWEEPS):
        neighbours, rows = (up, layers[1:]) if sweep % 2 == 0 else (down, layers[-2::-1])
        for row in rows:
            wanted = {place: np.mean([x[other] for other in neighbours[place]] or [x[place]]) for place in row}
            if sweep < SWEEPS:
                row.sort(key=lambda place, wanted=wanted: round(wanted[place], 9))
            x |= dict(zip(row, _apart([wanted[place] for place in row], row), strict=True))
    at = {place: layer for layer, row in enumerate(layers) for place in row}
    routes = {link: [(x[place], at[place]) for place in places] for link, places in passed.items()}
    return np.array([x[(node,)] for node in range(len(parents))]), layer_t, routes


def _apart(wanted: Sequence[float], row: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Return places in the order of `row`, wide enough apart, nearest to the wanted ones in the sum of squares."""
    from scipy.optimize import isotonic_regression

    width = np.array([SPACE if len(place) == 1 else PASSAGE for place in row])
    offset = np.cumsum((width + np.roll(width, 1)) / 2)
    return isotonic_regression(np.asarray(wanted) - offset).x + offset


def draw(axis: Axes, nodes: pd.DataFrame, parents: Sequence[Sequence[int]], colours: dict[str, str]) -> None:
    """Draw the nodes.

    Parameters
    ----------
    axis
        Where to draw.
    nodes
        `name`, `probability`, `kind` (key of `colours`) and `leaf` of each node, a parent before its children.
    parents
        Parents of each node, as places in `nodes`.
    colours
        Colour of each kind at probability 1; lower ones are paler.
    """
    x_t, layer_t, routes = layout(parents)
    for route in routes.values():
        for (x0, y0), (x1, y1) in pairwise(route):
            axis.plot([x0, x1], [-y0, -y1], color="#999999", lw=0.8, zorder=1)
    shades = {kind: LinearSegmentedColormap.from_list(kind, ["#FFFFFF", colour]) for kind, colour in colours.items()}
    for node, x, layer in zip(nodes.itertuples(), x_t, layer_t, strict=True):
        shade = shades[node.kind](0.12 + 0.88 * node.probability)
        axis.add_patch(
            mpl.patches.FancyBboxPatch(
                (x - WIDTH / 2, -layer - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=shade, edgecolor="black", lw=2.2 if node.leaf else 0.6, zorder=2,
            )
        )  # fmt: skip
        bright = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2]
        axis.text(
            x, -layer, f"{fill(node.name, 20, break_on_hyphens=False)}\n{node.probability:.3f}",
            ha="center", va="center", fontsize=6.5, linespacing=0.95, zorder=3,
            color="white" if bright < 0.5 else "black",
        )  # fmt: skip
    axis.set_xlim(x_t.min() - 0.6, x_t.max() + 0.6)
    axis.set_ylim(-layer_t.max() - 0.45, 0.45)
    axis.axis("off")

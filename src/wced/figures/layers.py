"""Directed acyclic graphs, plotted in layers from the nodes without parents down."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyBboxPatch

WIDTH, HEIGHT = 1.0, 0.62
"""Size of a node's box; layers are 1 apart."""
SPACE, PASSAGE = 1.12, 0.35
"""Width that a node, and a link between the nodes of a layer, take up."""
SWEEPS = 24
"""Sweeps that sort layers, and then sweeps that only move nodes."""

Route = list[tuple[float, int]]


def layout(parents: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, dict[tuple[int, int], Route]]:
    """Return positions for the nodes of a directed acyclic graph, in layers, with links routed between the boxes.

    A node's layer is the length of the longest path from a node without parents. In a layer nodes are in the order of
    the mean x of their neighbours, in sweeps down and up (Sugiyama et al. 1981), as close to it as their widths allow.
    (igraph's layout has more crossings and gives a link as much room as a node.)

    `parents` has the parents of each node, a parent before its children. Returns the x of the middle of each node, its
    layer (from 0), and for each (parent, child) the points (x, layer) that the link passes, both ends included.
    """
    layer_t = np.zeros(len(parents), dtype=int)
    for node, above in enumerate(parents):
        layer_t[node] = 1 + max(layer_t[above], default=-1)
    # The point of a node is (node,); a link has a point (parent, child, layer) in each layer that it passes.
    layers = [[(int(node),) for node in np.flatnonzero(layer_t == layer)] for layer in range(layer_t.max() + 1)]
    routes = {}
    for child, above in enumerate(parents):
        for parent in above:
            between = [(parent, child, layer) for layer in range(layer_t[parent] + 1, layer_t[child])]
            for point in between:
                layers[point[2]].append(point)
            routes[parent, child] = [(parent,), *between, (child,)]
    up, down = ({point: [] for row in layers for point in row} for _ in range(2))
    for start, end in (link for route in routes.values() for link in pairwise(route)):
        up[end].append(start)
        down[start].append(end)
    x = {point: i - (len(row) - 1) / 2 for row in layers for i, point in enumerate(row)}
    for sweep in range(2 * SWEEPS):
        neighbours, rows = (up, layers[1:]) if sweep % 2 == 0 else (down, layers[-2::-1])
        for row in rows:
            mean = {point: np.mean([x[other] for other in neighbours[point]] or [x[point]]) for point in row}
            if sweep < SWEEPS:
                row.sort(key=lambda point, mean=mean: round(mean[point], 9))
            x |= dict(zip(row, _apart([mean[point] for point in row], row), strict=True))
    points = {point: (x[point], layer) for layer, row in enumerate(layers) for point in row}
    x_t = np.array([x[(node,)] for node in range(len(parents))])
    return x_t, layer_t, {link: [points[point] for point in route] for link, route in routes.items()}


def _apart(mean: Sequence[float], row: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Return x in the order of `row`, far enough apart, closest to the means by least squares."""
    from scipy.optimize import isotonic_regression

    width = np.array([SPACE if len(point) == 1 else PASSAGE for point in row])
    offset = np.cumsum((width + np.roll(width, 1)) / 2)
    return isotonic_regression(np.asarray(mean) - offset).x + offset


def draw(axis: Axes, nodes: pd.DataFrame, parents: Sequence[Sequence[int]], colours: Mapping[str, str]) -> None:
    """Plot the nodes of a graph with their probabilities on the only axis of a figure, which gets the size they need.

    `nodes` has `name`, `probability`, `kind` (key of `colours`) and `leaf` of each node, a parent before its children;
    `parents` their parents as indices. `colours` are those of probability 1; lower probabilities are paler.
    """
    x_t, layer_t, routes = layout(parents)
    axis.figure.set_size_inches(1.3 * (np.ptp(x_t) + 1.2), 0.72 * (layer_t.max() + 1) + 0.7)
    for route in routes.values():
        x, layer = zip(*route, strict=True)
        axis.plot(x, -np.array(layer), color="#999999", lw=0.8, zorder=1)
    shades = {kind: LinearSegmentedColormap.from_list(kind, ["#FFFFFF", colour]) for kind, colour in colours.items()}
    for node, x, layer in zip(nodes.itertuples(), x_t, layer_t, strict=True):
        shade = shades[node.kind](0.12 + 0.88 * node.probability)
        axis.add_patch(
            FancyBboxPatch(
                (x - WIDTH / 2, -layer - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=shade, edgecolor="black", lw=2.2 if node.leaf else 0.6, zorder=2,
            )
        )  # fmt: skip
        dark = np.dot(shade[:3], (0.299, 0.587, 0.114)) < 0.5
        axis.text(
            x, -layer, f"{fill(node.name, 20, break_on_hyphens=False)}\n{node.probability:.3f}",
            ha="center", va="center", fontsize=6.5, linespacing=0.95, zorder=3, color="white" if dark else "black",
        )  # fmt: skip
    axis.set(xlim=(x_t.min() - 0.6, x_t.max() + 0.6), ylim=(-layer_t.max() - 0.45, 0.45))
    axis.axis("off")

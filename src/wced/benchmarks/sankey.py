"""Flows between columns of nodes, drawn as bands whose widths are numbers of cells."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

BAR = 0.05
"""Width of a node, where columns are 1 apart."""


def sankey(
    axis: Axes,
    flows: pd.DataFrame,
    orders: Sequence[Sequence[str]],
    *,
    colours: Mapping[str, str],
    names: Mapping[str, str],
    gap: float = 0.025,
    wrap: int = 24,
    sides: Sequence[str] = (),
) -> None:
    """Draw flows on an axis.

    Parameters
    ----------
    axis
        Where to draw; it loses its frame.
    flows
        Rows of `step` (from column `step` to the next), `source`, `target`, `kind`, `cells`.
    orders
        Nodes of each column, from above. A node's height is the greater of what flows in and out.
    colours
        Colour of each kind; bands between two nodes lie in this order.
    names
        What is written beside each node.
    gap
        Space between nodes, as a share of all cells.
    wrap
        Most characters of a line.
    sides
        Per column whether names stand `left` or `right` of the bar; all right without it.
    """
    total = flows.loc[flows["step"] == 0, "cells"].sum()
    rank = {(column, node): i for column, nodes in enumerate(orders) for i, node in enumerate(nodes)}
    flows = flows.assign(
        kind_rank=flows["kind"].map({kind: i for i, kind in enumerate(colours)}),
        source_rank=[rank[step, node] for step, node in zip(flows["step"], flows["source"], strict=True)],
        target_rank=[rank[step + 1, node] for step, node in zip(flows["step"], flows["target"], strict=True)],
    )
    top = _tops(flows, orders, gap * total)
    for column, nodes in enumerate(orders):
        for node in nodes:
            above, height = top[column, node]
            axis.add_patch(Rectangle((column - BAR / 2, -above - height), BAR, height, color="#333333", lw=0))
            left = len(sides) > column and sides[column] == "left"
            axis.text(
                column + (-BAR if left else BAR), -above - height / 2, fill(names[node], wrap, break_on_hyphens=False),
                va="center", ha="right" if left else "left", fontsize=7, linespacing=1.0, zorder=3,
                bbox={"facecolor": "white", "alpha": 0.6, "lw": 0, "pad": 0.4},
            )  # fmt: skip
    # Where bands begin and end: they leave a node in the order of their targets, and reach one in that of sources.
    for side, columns in (
        ("source", ["step", "source_rank", "target_rank"]),
        ("target", ["step", "target_rank", "source_rank"]),
    ):
        flows = flows.sort_values([*columns, "kind_rank"], kind="stable")
        before = flows.groupby(["step", side], sort=False)["cells"].cumsum() - flows["cells"]
        shift = 0 if side == "source" else 1
        start = [top[step + shift, node][0] for step, node in zip(flows["step"], flows[side], strict=True)]
        flows[f"{side}_top"] = start + before
    for flow in flows.itertuples():
        _band(axis, flow, colours[flow.kind])
    axis.set_xlim(-BAR, len(orders) - 1 + BAR)
    axis.set_ylim(-max(above + height for above, height in top.values()), 0)
    axis.axis("off")


def _tops(
    flows: pd.DataFrame, orders: Sequence[Sequence[str]], gap: float
) -> dict[tuple[int, str], tuple[float, float]]:
    """Return distance from above and height of each node; columns are centred on each other."""
    leaving, reaching = (flows.groupby(["step", side])["cells"].sum() for side in ("source", "target"))
    columns = [
        [max(leaving.get((column, node), 0), reaching.get((column - 1, node), 0)) for node in nodes]
        for column, nodes in enumerate(orders)
    ]
    tallest = max(sum(heights) + gap * (len(heights) - 1) for heights in columns)
    top = {}
    for column, (nodes, heights) in enumerate(zip(orders, columns, strict=True)):
        above = (tallest - sum(heights) - gap * (len(heights) - 1)) / 2
        for node, height in zip(nodes, heights, strict=True):
            top[column, node] = (above, height)
            above += height + gap
    return top


def _band(axis: Axes, flow, colour: str) -> None:
    """Draw one band between two nodes."""
    x0, x1 = flow.step + BAR / 2, flow.step + 1 - BAR / 2
    bend = (x0 + x1) / 2
    y0, y1, height = -flow.source_top, -flow.target_top, flow.cells
    corners = [(x0, y0), (bend, y0), (bend, y1), (x1, y1), (x1, y1 - height), (bend, y1 - height), (bend, y0 - height),
               (x0, y0 - height), (x0, y0)]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    axis.add_patch(PathPatch(Path(corners, codes), facecolor=colour, alpha=0.55, lw=0))


def by_source(flows: pd.DataFrame, first: Sequence[str]) -> list[list[str]]:
    """Return an order of the nodes of each column that keeps bands from crossing: by the mean place of their sources.

    Parameters
    ----------
    flows
        As in `sankey`.
    first
        Order of the first column.
    """
    orders = [list(first)]
    for step in range(flows["step"].max() + 1):
        part = flows[flows["step"] == step]
        place = part["source"].map({node: i for i, node in enumerate(orders[-1])})
        mean = (place * part["cells"]).groupby(part["target"]).sum() / part.groupby("target")["cells"].sum()
        largest = part.groupby("target")["cells"].sum()
        keys = pd.DataFrame({"mean": mean.round(9), "cells": -largest}).sort_index()
        orders.append(keys.sort_values(["mean", "cells"], kind="stable").index.tolist())
    return orders

"""Flows between columns of nodes, plotted as bands whose widths are numbers of cells."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

BAR = 0.05
"""Width of a node; columns are 1 apart."""
GAP = 0.025
"""Space between nodes, as a share of all cells."""


def sankey(
    axis: Axes,
    flows: pd.DataFrame,
    orders: Sequence[Sequence[str]],
    *,
    colours: Mapping[str, str],
    names: Mapping[str, str],
    wrap: int = 24,
    sides: Sequence[str] = (),
) -> None:
    """Plot flows on an axis, which loses its frame.

    Parameters
    ----------
    axis, names, wrap
        The axis, the name of each node, and the most characters of a line of a name.
    flows
        Rows of `step` (from column `step` to the next), `source`, `target`, `kind`, `cells`.
    orders
        Nodes of each column, from the top. A node's height is the larger of its inflow and outflow.
    colours
        Colour of each kind; bands between two nodes are in this order.
    sides
        For each column, whether names are `left` or `right` of the bar; right without it.
    """
    nodes = _nodes(flows, orders, GAP * flows.loc[flows["step"] == 0, "cells"].sum())
    for (column, node), above, height in nodes[["above", "height"]].itertuples():
        axis.add_patch(Rectangle((column - BAR / 2, -above - height), BAR, height, color="#333333", lw=0))
        left = len(sides) > column and sides[column] == "left"
        axis.text(
            column + (-BAR if left else BAR), -above - height / 2, fill(names[node], wrap, break_on_hyphens=False),
            va="center", ha="right" if left else "left", fontsize=7, linespacing=1.0, zorder=3,
            bbox={"facecolor": "white", "alpha": 0.6, "lw": 0, "pad": 0.4},
        )  # fmt: skip
    kinds = list(colours)
    flows = flows.assign(column=flows["step"] + 1, kind_rank=flows["kind"].map(kinds.index))
    flows = flows.join(nodes.add_prefix("source_"), on=["step", "source"])
    flows = flows.join(nodes.add_prefix("target_"), on=["column", "target"])
    # Bands leave a node in the order of their targets, and enter one in that of their sources.
    for side, other in (("source", "target"), ("target", "source")):
        flows = flows.sort_values([f"{side}_rank", f"{other}_rank", "kind_rank"], kind="stable")
        flows[f"{side}_above"] += flows.groupby(["step", side])["cells"].cumsum() - flows["cells"]
    for flow in flows.itertuples():
        _band(axis, flow, colours[flow.kind])
    axis.set_xlim(-BAR, len(orders) - 1 + BAR)
    axis.set_ylim(-(nodes["above"] + nodes["height"]).max(), 0)
    axis.axis("off")


def _nodes(flows: pd.DataFrame, orders: Sequence[Sequence[str]], gap: float) -> pd.DataFrame:
    """Return `rank`, `height` and distance from `above` by column and node; columns are centred on each other."""
    index = pd.MultiIndex.from_tuples([(column, node) for column, nodes in enumerate(orders) for node in nodes])
    outflow = flows.groupby(["step", "source"])["cells"].sum().reindex(index, fill_value=0)
    inflow = flows.groupby([flows["step"] + 1, "target"])["cells"].sum().reindex(index, fill_value=0)
    nodes = pd.DataFrame({"rank": range(len(index)), "height": np.maximum(outflow, inflow)}, index)
    end = (nodes["height"] + gap).groupby(level=0).cumsum()
    length = end.groupby(level=0).transform("last")
    return nodes.assign(above=end - gap - nodes["height"] + (length.max() - length) / 2)


def _band(axis: Axes, flow: Any, colour: str) -> None:
    x0, x1 = flow.step + BAR / 2, flow.step + 1 - BAR / 2
    bend = (x0 + x1) / 2
    y0, y1, height = -flow.source_above, -flow.target_above, flow.cells
    corners = [(x0, y0), (bend, y0), (bend, y1), (x1, y1), (x1, y1 - height), (bend, y1 - height), (bend, y0 - height),
               (x0, y0 - height), (x0, y0)]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    axis.add_patch(PathPatch(Path(corners, codes), facecolor=colour, alpha=0.55, lw=0))


def by_source(flows: pd.DataFrame, first: Sequence[str]) -> list[list[str]]:
    """Return an order of the nodes of each column that keeps bands from crossing: by the mean rank of their sources.

    `flows` are as in `sankey`, and `first` is the order of the first column.
    """
    orders = [list(first)]
    for _, part in flows.groupby("step"):
        rank = part["source"].map({node: i for i, node in enumerate(orders[-1])})
        sums = part.assign(rank=rank * part["cells"]).groupby("target")[["rank", "cells"]].sum()
        keys = pd.DataFrame({"rank": (sums["rank"] / sums["cells"]).round(9), "cells": -sums["cells"]})
        orders.append(keys.sort_values(["rank", "cells"], kind="stable").index.tolist())
    return orders

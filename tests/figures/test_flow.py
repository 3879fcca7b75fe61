import itertools

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle

from wced.figures.flow import BAR, by_source, sankey

FLOWS = pd.DataFrame(
    [(0, "r", "a", "good", 6), (0, "r", "b", "good", 3), (0, "r", "b", "bad", 1), (1, "a", "d", "bad", 2),
     (1, "a", "c", "good", 4), (1, "b", "d", "good", 1), (1, "b", "e", "bad", 3)],
    columns=["step", "source", "target", "kind", "cells"],
)  # fmt: skip


def test_nodes_stand_in_the_order_of_their_sources():
    # c comes from a only, e from b only, d from both.
    assert by_source(FLOWS, ["r"]) == [["r"], ["a", "b"], ["c", "d", "e"]]
    # Equally placed nodes: the larger first, then by name.
    level = FLOWS[FLOWS["step"] == 0]
    assert by_source(level.assign(target=["b", "a", "a"]), ["r"]) == [["r"], ["b", "a"]]
    assert by_source(level.assign(cells=[4, 3, 1]), ["r"]) == [["r"], ["a", "b"]]


def test_bands_cover_their_nodes_without_overlap():
    axis = Figure().subplots()
    orders = by_source(FLOWS, ["r"])
    sankey(axis, FLOWS, orders, colours={"good": "#00FF00", "bad": "#FF0000"}, names={name: name for name in "rabcde"})
    bars = {}
    boxes = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    for (column, node), box in zip([(i, n) for i, order in enumerate(orders) for n in order], boxes, strict=True):
        assert box.get_x() == pytest.approx(column - BAR / 2)
        bars[column, node] = (-box.get_y() - box.get_height(), -box.get_y())  # from above
    heights = {node: low - high for (_, node), (high, low) in bars.items()}
    assert heights == pytest.approx({"r": 10, "a": 6, "b": 4, "c": 4, "d": 3, "e": 3})
    bands = [patch.get_path().vertices for patch in axis.patches if isinstance(patch, PathPatch)]
    for end, outgoing in ((0, True), (3, False)):
        covered = {}
        for band in bands:
            x, top, bottom = band[end][0], -band[end][1], -band[7 - end][1]
            column = round(x - BAR / 2 if outgoing else x + BAR / 2)
            node = next(
                n for (c, n), (high, low) in bars.items() if c == column and high - 1e-9 <= top and bottom <= low + 1e-9
            )
            covered.setdefault((column, node), []).append((top, bottom))
        for node, spans in covered.items():
            spans.sort()
            assert spans[0][0] == pytest.approx(bars[node][0]) and spans[-1][1] == pytest.approx(bars[node][1])
            for (_, bottom), (top, _) in itertools.pairwise(spans):
                assert top == pytest.approx(bottom)
    assert {text.get_text() for text in axis.texts} == set("rabcde")

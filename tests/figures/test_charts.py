import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from wced.figures import STYLE, styled
from wced.figures.charts import heat_map, intervals, legend, name_points, panels


def test_the_style_ends_with_the_function():
    before = mpl.rcParams["font.size"]
    assert styled(lambda: mpl.rcParams["font.size"])() == STYLE["font.size"] != before
    assert mpl.rcParams["font.size"] == before


@pytest.mark.parametrize(("count", "size"), [(1, (3, 1)), (3, (7, 1)), (4, (7, 2))])
def test_panels_fill_rows(count, size):
    figure, axes = panels(count, 2, 1, margin=(1, 0))
    assert list(figure.axes) == list(axes) and len(axes) == count
    assert tuple(figure.get_size_inches()) == size


def test_a_legend_has_patches_and_lines_and_is_left_out_when_empty():
    figure, _ = panels(1, 2, 2)
    legend(figure, "upper center", {})
    assert not figure.legends
    legend(figure, "upper center", {"bar": "red", "line": {"color": "blue", "ls": "--"}})
    patch, line = figure.legends[0].legend_handles
    assert patch.get_facecolor() == (1, 0, 0, 1) and line.get_linestyle() == "--"


def test_names_that_would_lie_upon_another_are_left_out():
    _, (axis,) = panels(1, 2, 2)
    axis.set(xlim=(0, 10), ylim=(0, 10))
    points = [(1, 1, "first"), (1.5, 1.5, "near"), (1.5, 4, "above"), (9, 1, "right"), (9, 9, "too many")]
    name_points(axis, points, apart=(0.1, 0.2), most=3)
    assert [text.get_text() for text in axis.texts] == ["first", "above", "right"]


@pytest.mark.parametrize("upright", [False, True])
def test_intervals_reach_from_low_to_high(upright):
    _, (axis,) = panels(1, 2, 2)
    scores = pd.DataFrame({"value": [0.2, 0.5], "ci_low": [0.1, 0.3], "ci_high": [0.4, 0.9]})
    intervals(axis, scores, [7, 8], "red", upright=upright)
    lines, dots = axis.collections
    ends = np.array(lines.get_segments())[:, :, int(upright)]
    np.testing.assert_allclose(ends, [[0.1, 0.4], [0.3, 0.9]])
    np.testing.assert_allclose(dots.get_offsets()[:, int(upright)], scores["value"])
    np.testing.assert_allclose(dots.get_offsets()[:, int(not upright)], [7, 8])


def test_a_heat_map_names_and_fills_its_cells():
    _, (axis,) = panels(1, 2, 2)
    heat_map(axis, pd.DataFrame([[0.25, 0.75], [1, 0]], index=["a", "b"], columns=["c", "d"]), label="share")
    assert [text.get_text() for text in axis.texts] == ["0.25", "0.75", "1.00", "0.00"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]

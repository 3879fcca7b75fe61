import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.figures.layers import PASSAGE, SPACE, layout

#   0 - 1 - 2 - 4 and 0 - 3, 0 - 4 over two layers
PARENTS = [[], [0], [1], [0], [2, 0]]


def test_layers_are_the_longest_paths():
    x_t, layer_t, routes = layout(PARENTS)
    assert layer_t.tolist() == [0, 1, 2, 1, 3]
    assert set(routes) == {(0, 1), (1, 2), (0, 3), (2, 4), (0, 4)}
    assert [layer for _, layer in routes[0, 4]] == [0, 1, 2, 3]
    for (parent, child), route in routes.items():
        assert (route[0][0], route[-1][0]) == (x_t[parent], x_t[child])


def test_a_chain_stands_upright():
    x_t, _, _ = layout([[], [0], [1]])
    assert np.ptp(x_t) == 0


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 12))
    return [[]] + [draw(st.lists(st.integers(0, i - 1), min_size=1, max_size=3, unique=True)) for i in range(1, count)]


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_boxes_and_the_links_that_pass_them_do_not_overlap(parents):
    x_t, layer_t, routes = layout(parents)
    for layer in range(layer_t.max() + 1):
        places = [(x, SPACE) for x in x_t[layer_t == layer]]
        places += [(x, PASSAGE) for route in routes.values() for x, at in route[1:-1] if at == layer]
        places.sort()
        for (left, left_width), (right, right_width) in itertools.pairwise(places):
            assert right - left > (left_width + right_width) / 2 - 1e-9

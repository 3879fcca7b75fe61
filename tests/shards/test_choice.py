import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.shards.choice import choice_probabilities


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.tuples(st.just(0.0) | st.floats(1e-6, 100.0), st.integers(1, 1000)), min_size=1, max_size=40),
    st.floats(0.0, 1.0),
)
def test_the_share_is_kept_and_chances_are_in_proportion_as_far_as_they_can_be(genes, select):
    weights_g, positions_g = (np.array(column, np.float64) for column in zip(*genes, strict=True))
    chosen_g = choice_probabilities(weights_g, positions_g, select)
    assert ((chosen_g >= 0) & (chosen_g <= 1)).all() and (chosen_g[weights_g == 0] == 0).all()
    share = (chosen_g * positions_g).sum() / positions_g.sum()
    most = positions_g[weights_g > 0].sum() / positions_g.sum()
    assert share == pytest.approx(min(select, most), abs=1e-9)
    # One factor for all genes that are not certain to be chosen; the certain ones would be above 1 with it.
    part = (weights_g > 0) & (chosen_g < 1)
    if part.any() and select > 1e-6:
        factor = chosen_g[part] / weights_g[part]
        np.testing.assert_allclose(factor, factor[0], rtol=1e-9)
        assert (weights_g[(weights_g > 0) & ~part] * factor[0] >= 1 - 1e-9).all() or share < select


def test_equal_weights_choose_uniformly():
    np.testing.assert_allclose(choice_probabilities(np.full(5, 7.0), np.arange(1, 6), 0.3), 0.3)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, np.nan], [np.inf, 1.0], [1.0]], ids=str)
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match=r"^weights of 2 genes must be"):
        choice_probabilities(np.array(weights), np.ones(2), 0.5)

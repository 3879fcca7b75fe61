"""Every objective alone can learn a handful of cells by heart, which says that its gradients lead somewhere."""

import pytest

from by_heart import OBJECTIVES, learn_by_heart
from wced.shards.reader import ShardSet


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_handful_of_cells_is_learned_by_heart(made, objective):
    losses = learn_by_heart(ShardSet(made.shards), objective)
    assert losses[-1] < 0.2 * losses[0], (losses[0], losses[-1])

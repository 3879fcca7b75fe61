from itertools import product

import numpy as np
import pytest

from wced.genes.annotation.programs import PROGRAMS, assign


def test_the_published_counts_are_of_all_genes():
    assert sum(PROGRAMS.values()) == 19027


@pytest.mark.parametrize(
    ("dissociation", "cell_cycle", "housekeeping", "identity"), list(product([False, True], repeat=4))
)
def test_every_branch_of_the_tree(dissociation, cell_cycle, housekeeping, identity):
    if dissociation and not identity:
        expected = "dissociation"
    elif cell_cycle and not identity:
        expected = "cell_cycle"
    elif housekeeping:
        expected = "constitutive"
    elif identity:
        expected = "identity"
    else:
        expected = "unassigned"
    given = [np.array([member]) for member in (dissociation, cell_cycle, housekeeping, identity)]
    assert assign(*given).tolist() == [expected]

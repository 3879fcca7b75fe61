import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.errors import WcedError
from wced.genes.annotation import expression


def frame(*rows):
    return pd.DataFrame(rows, index=[f"g{i}" for i in range(len(rows))], dtype=float)


def test_tau_and_breadth_by_hand():
    values = expression.tau(frame([7, 7, 7], [0, 0, 7], [0, 0, 0], [3, 1, 0]))
    # The last: logarithms 2, 1, 0 of the largest 2, so (0 + 1/2 + 1) / 2.
    np.testing.assert_allclose(values, [0, 1, np.nan, 0.75], rtol=1e-12)
    assert expression.detected(frame([1, 0.99, 5], [0, 0, 0])).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param([4, 1, 1], expression.ENRICHED, id="four times"),
        pytest.param([3.9, 1, 1], expression.OTHER, id="not quite"),
        pytest.param([5, 0, 0], expression.ENRICHED, id="nowhere else"),
        pytest.param([4, 5, 1], expression.GROUP_ENRICHED, id="two of three"),
        pytest.param([20, 4, 1.1], expression.ENRICHED, id="one before a group"),
        pytest.param([12, 4, 1], expression.GROUP_ENRICHED, id="each of the group"),
        pytest.param([40, 11, 3, 1], expression.OTHER, id="a mean above is not enough"),
        pytest.param([0.9, 0, 0], expression.NOT_DETECTED, id="below 1"),
        pytest.param([0, 0, 0], expression.NOT_DETECTED, id="nothing"),
        pytest.param([2, 2, 2], expression.OTHER, id="even"),
        pytest.param([8] * 10 + [2], expression.GROUP_ENRICHED, id="group of ten"),
        pytest.param([8] * 11 + [2], expression.OTHER, id="group of eleven"),
    ],
)
def test_specificity_by_hand(row, expected):
    assert expression.specificity(frame(row)).tolist() == [expected]


@settings(max_examples=60, deadline=None)
@given(row=st.lists(st.integers(0, 40), min_size=2, max_size=14))
def test_specificity_is_what_the_rule_says(row):
    top = sorted(row, reverse=True)
    sizes = [k for k in range(1, min(10, len(row) - 1) + 1) if top[k - 1] > 0 and top[k - 1] >= 4 * top[k]]
    enriched = expression.ENRICHED if 1 in sizes else expression.GROUP_ENRICHED if sizes else expression.OTHER
    assert expression.specificity(frame(row)).tolist() == [expression.NOT_DETECTED if top[0] < 1 else enriched]


def test_housekeeping_takes_the_high_and_even():
    # Two of ten genes are taken: the even and high ones, whatever the size of a tissue's library.
    rows = [[100, 100, 100], [90, 95, 90], *([1, 5 * i, 0] for i in range(1, 9))]
    table = frame(*rows) * [1.0, 8.0, 0.5]
    assert sorted(expression.housekeeping(table)) == ["g0", "g1"]
    assert sorted(expression.housekeeping(table.iloc[::-1])) == ["g0", "g1"]
    equal = frame(*[[5, 5]] * 10)
    assert expression.housekeeping(equal.iloc[::-1]).tolist() == ["g0", "g1"]  # by id


def test_read_takes_tissues_and_leaves_out_the_unknown(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Ensembl_Gene_ID,Symbol,nTPM_a,nTPM_b,FPKM_c\nE1,A,1,2,3\nE2,B,,2,3\n")
    table = expression.read_expression(path)
    assert table.columns.tolist() == ["nTPM_a", "nTPM_b"]
    assert table.to_numpy().tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("gene,a,b\nE1,1,2\n", "Ensembl_Gene_ID is missing", id="no id"),
        pytest.param("Ensembl_Gene_ID,a\nE1,1\n", "has 1 columns", id="one column"),
        pytest.param("Ensembl_Gene_ID,a,b\nE1,1,2\nE1,1,2\n", "gene E1 has two rows", id="duplicated"),
        pytest.param("Ensembl_Gene_ID,a,b\nE1,1,x\n", "not made of numbers", id="text"),
        pytest.param("Ensembl_Gene_ID,a,b\nE1,1,-2\n", "negative", id="negative"),
        pytest.param("Ensembl_Gene_ID,a,b\nE1,1,0\n", "b has no expression at all", id="nothing"),
        pytest.param("", "cannot be read", id="empty"),
    ],
)
def test_wrong_expression_is_refused(tmp_path, text, words):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(WcedError, match=f"t.csv: .*{words}"):
        expression.read_expression(path)


def test_hpas_own_category(tmp_path):
    path = tmp_path / "proteinatlas.tsv"
    path.write_text("Gene\tEnsembl\tRNA single cell type specificity\nA\tE1\tGroup enriched\nB\tE2\t\n")
    assert expression.read_specificity(path).to_dict() == {"E1": "Group enriched", "E2": ""}
    path.write_text("Gene\tEnsembl\nA\tE1\n")
    with pytest.raises(WcedError, match="RNA single cell type specificity"):
        expression.read_specificity(path)

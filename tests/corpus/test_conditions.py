import numpy as np
import pandas as pd
import pytest

from wced.corpus.conditions import kept_rows, truth
from wced.errors import WcedError

OBS = pd.DataFrame(
    {
        "good": [True, False, True, True],
        "n": [1, 2, 3, 5],
        "share": [0.5, np.nan, 1.0, 0.0],
        "type": ["a|b", "b", None, "a|b"],
        "cluster": pd.Categorical(["0", "1", "0", "1"]),
        "of cells": [1, 2, 3, 4],
        "ok": ["True", "false", "NA", "TRUE"],
    }
)
SPELLINGS = {
    "booleans": [True, False, None, True],
    "nullable": pd.array([True, False, None, True], dtype="boolean"),
    "text": ["True", "False", "nan", "true"],
    "short": ["T", "F", "", "t"],
    "words": ["yes", "No", "unknown", "Y"],
    "categories": pd.Categorical(["TRUE", "FALSE", None, "TRUE"]),
    "digits": ["1", "0", "n/a", "1"],
    "numbers": [1.0, 0.0, np.nan, 1.0],
    "nullable numbers": pd.array([1, 0, None, 1], dtype="Int8"),
    "text type": pd.array(["True", "False", None, "True"], dtype="string"),
}


@pytest.mark.parametrize("values", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize(
    ("keep", "rows"),
    [("s", [0, 3]), ("not s", [1]), ("~s & n > 1", [1]), ("s == True", [0, 3]), ("s != True or n == 3", [1, 2])],
)
def test_all_spellings_of_yes_and_no(values, keep, rows):
    assert kept_rows(pd.DataFrame({"s": values, "n": [1, 2, 3, 4]}), keep, "x").tolist() == rows
    with pytest.raises(WcedError, match=r"^x: .* is neither True nor False \(1 of 4 cells\)$"):
        truth(pd.Series(values), "x", complete=True)


@pytest.mark.parametrize(
    ("keep", "rows"),
    [
        (None, [0, 1, 2, 3]),
        ("good", [0, 2, 3]),
        ("good and n > 1", [2, 3]),
        ("n == 2", [1]),
        ("n > 1 & n < 4 | share == 0", [1, 2, 3]),
        ("type == 'a|b' & ok", [0, 3]),
        ("`of cells` > 2", [2, 3]),
        ("share > 0.4", [0, 2]),
        ("cluster in ['1']", [1, 3]),
        ("type.str.startswith('a')", [0, 3]),
        ("ok == 'True'", [0]),
    ],
)
def test_condition(keep, rows):
    assert kept_rows(OBS, keep, "x").tolist() == rows


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ("nothing > 1", r"fails: .*; its columns are good, n, share, type, cluster, of cells, ok$"),
        ("type = 'b'", r"fails: it cannot be read at character \d+; equal is written =="),
        ("of cells > 2", r"fails: it cannot be read at character \d+; .* names with spaces in ``$"),
        ("n", r", n: '2' is neither True nor False \(1 of 4 cells\)$"),
        ("good & n", r", n: '2' is neither True nor False \(1 of 4 cells\)$"),
        ("type", r", type: 'a\|b' is neither True nor False \(2 of 4 cells\)$"),
        ("cluster != 1", ": cluster is text, and is compared with numbers without quotes$"),
        ("n not in ['1']", ": n is no text, and is compared with words in quotes$"),
    ],
)
def test_condition_that_fails(keep, words):
    with pytest.raises(WcedError, match=f"^x: the condition .* on obs.*{words}"):
        kept_rows(OBS, keep, "x")

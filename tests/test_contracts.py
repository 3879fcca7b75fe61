import numpy as np
import pandas as pd
import pytest

from wced.contracts import are_unknown, is_unknown


@pytest.mark.parametrize("text", ["", " ", "unknown", "Unknown", "nan", "None", "NA", "n/a", "<NA>"])
def test_words_that_say_that_nothing_is_known(text):
    assert is_unknown(text)


@pytest.mark.parametrize("text", ["0", "nana", "no", "none", "control", "CL:0000000"])
def test_words_that_say_something(text):
    assert not is_unknown(text)


@pytest.mark.parametrize(
    "values",
    [
        ["a", "unknown", None, "NA", "a"],
        np.array(["a", "unknown", "", "na", "b"]),
        pd.Series(["a", None, "nan", " ", "b"], index=[3, 3, 1, 0, 9]),
        pd.Categorical(["a", None, "N/A", "None", "b"]),
        pd.Series([1.0, np.nan, np.nan, np.nan, 0.0]),
        pd.Series([1, None, None, None, 0], dtype="Int64"),
    ],
    ids=["list", "array", "series", "categories", "numbers", "integers"],
)
def test_values_of_any_kind(values):
    assert are_unknown(values).tolist() == [False, True, True, True, False]


def test_no_value_is_no_answer():
    assert are_unknown([]).tolist() == []

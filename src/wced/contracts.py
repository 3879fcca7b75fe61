"""Names and values that several rooms write and read."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

CELL_TYPE = "cell_type_ontology_term_id"
"""Column of obs with the Cell Ontology id of a cell's type."""
COUNTS_MADE_OF = "counts_made_of"
"""Key of uns of a harmonised dataset whose publisher has no counts: the values that they were computed from."""
UNKNOWN = "unknown"
"""A label that is not known, in all files that wced writes."""


def is_unknown(text: str) -> bool:
    """Return whether a text says that nothing is known, such as `unknown`, `NA`, Python's `None` or nothing.

    The word `none` says something: no treatment, for example.
    """
    return text.strip() == "None" or text.strip().lower() in ("", UNKNOWN, "nan", "na", "n/a", "<na>")


def are_unknown(values: Iterable) -> np.ndarray:
    """Return which values are missing, or texts that say that nothing is known; bool, (n,)."""
    codes, distinct = pd.factorize(pd.Series(values))
    return np.array([*(is_unknown(str(value)) for value in distinct), True])[codes]

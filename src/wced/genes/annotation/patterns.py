"""Text patterns of the annotation's tables, and the tables themselves."""

import re
from collections.abc import Sequence
from fnmatch import translate
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.tables import read_text


def packaged(name: str) -> Path:
    """Return the path of one of the package's own tables."""
    return Path(str(files("wced.genes.annotation") / "data" / name))


def read_table(path: str | Path, what: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read a TSV of text whose comment lines start with #; WcedError if it lacks a column or has another."""
    frame = read_text(path, what, columns, comment="#")
    for column in frame.columns:
        if column not in columns:
            raise WcedError(f"{path}: column {column} is not known; expected {what}")
    return frame


def fits(texts: pd.Series, patterns: Sequence[str]) -> np.ndarray:
    """Return which texts fit any of the patterns (`*` any text, `[0-9]` a digit), bool (len(texts),)."""
    if not patterns:
        return np.zeros(len(texts), dtype=bool)
    either = re.compile("|".join(translate(pattern) for pattern in patterns))
    return np.fromiter((either.match(text) is not None for text in texts), dtype=bool, count=len(texts))

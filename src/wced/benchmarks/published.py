"""The paper's own tables, transcribed: numbers to stand beside those of a run, never among them."""

from pathlib import Path

import pandas as pd

from wced.errors import WcedError
from wced.files import existing
from wced.tables import PUBLISHED, SCORES, checked
from wced.tables import read as read_table

FOLDER = "config/published"
"""Where the tables are: one file for each table, or section, of the paper."""

LOST = "not in the text"
"""How the note of a number begins that the text of the paper has lost."""


def read(folder: str | Path = FOLDER) -> pd.DataFrame:
    """Read all tables of a folder.

    Returns
    -------
    pandas.DataFrame
        Rows of tables.PUBLISHED, in the order of the files' names.

    Raises
    ------
    WcedError
        If a file is no such table, if a number stands in two files, or if a row has neither a number nor a note that
        begins with `LOST`, or both.
    """
    paths = sorted(existing(folder, "a folder of published tables").glob("*.tsv"))
    if not paths:
        raise WcedError(f"{folder}: there is no table (.tsv)")
    frame = read_table(PUBLISHED, paths)
    wrong = frame["value"].isna() != frame["note"].str.startswith(LOST)
    if wrong.any():
        row = frame.loc[wrong, list(PUBLISHED.key)].iloc[0].to_dict()
        raise WcedError(
            f"{folder}: either a value or a note that begins with {LOST!r} is needed, which fails for {row}"
        )
    return frame


def scores(published: pd.DataFrame) -> pd.DataFrame:
    """Return published numbers in the shape of scores, so that a report can show them below those of a run.

    Parameters
    ----------
    published
        What `read` returns.

    Returns
    -------
    pandas.DataFrame
        Rows of tables.SCORES whose source is `published`. What the paper does not say of a score is empty, or 0: cells,
        parameters, width and seed.
    """
    return checked(
        pd.DataFrame(
            {
                "run": "published",
                "task": published["task"],
                "dataset": published["dataset"],
                "protocol": published["table"] + " of the paper: " + published["protocol"],
                "split": "as published",
                "label": "as published",
                "model": published["model"],
                "metric": published["metric"],
                "value": published["value"],
                "ci_low": float("nan"),
                "ci_high": float("nan"),
                "ci_method": "",
                "n": 0,
                "n_params": 0,
                "width": 0,
                "seed": 0,
                "source": "published",
                "leakage": "as published",
                "reason": published["note"].where(published["value"].isna(), ""),
            }
        ),
        SCORES,
    )

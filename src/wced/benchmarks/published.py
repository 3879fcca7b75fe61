"""The paper's own tables, transcribed: numbers to stand beside those of a run, never among them."""

from pathlib import Path

import pandas as pd

from wced.errors import WcedError
from wced.files import existing
from wced.tables import PUBLISHED, SCORES, checked
from wced.tables import read as read_table

LOST = "not in the text"
"""How the note of a number begins that the text of the paper has lost."""


def read(folder: str | Path) -> pd.DataFrame:
    """Read all tables of a folder, rows of tables.PUBLISHED in the order of the files' names.

    Raises WcedError if a file is no such table, if a number is in two files, or if a row has neither a number nor a
    note that begins with `LOST`, or both.
    """
    paths = sorted(existing(folder, "a folder of published tables").glob("*.tsv"))
    if not paths:
        raise WcedError(f"{folder}: there is no table (.tsv)")
    table = read_table(PUBLISHED, paths)
    wrong = table["value"].isna() != table["note"].str.startswith(LOST)
    if wrong.any():
        row = table.loc[wrong, list(PUBLISHED.key)].iloc[0].to_dict()
        raise WcedError(
            f"{folder}: either a value or a note that begins with {LOST!r} is needed, which fails for {row}"
        )
    return table


def scores(published: pd.DataFrame) -> pd.DataFrame:
    """Return what `read` returned in the shape of scores, so that a report can show it below the scores of a run.

    What the paper does not say of a score is empty, or 0: cells, parameters, width and seed.
    """
    table = published[["task", "dataset", "model", "metric", "value"]].assign(
        run="published",
        protocol=published["table"] + " of the paper: " + published["protocol"],
        split="as published", label="as published", leakage="as published", source="published",
        ci_low=float("nan"), ci_high=float("nan"), ci_method="",
        n=0, n_params=0, width=0, seed=0,
        reason=published["note"].where(published["value"].isna(), ""),
    )  # fmt: skip
    return checked(table, SCORES)

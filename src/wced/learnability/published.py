"""Numbers of the BMFM-RNA paper's text (sections 2.2 and 10), to stand beside those of a run."""

from functools import cache
from importlib import resources

import pandas as pd


@cache
def _numbers() -> dict[tuple[str, ...], str]:
    with (resources.files("wced.learnability") / "published.tsv").open() as stream:
        rows = pd.read_csv(stream, sep="\t", dtype=str, keep_default_na=False)
    return {tuple(row[:5]): row[5] for row in rows.itertuples(index=False)}


def published(table: str, decoder: str, regime: str, measure: str, group: str = "") -> str:
    """Return what the paper says of a measure, as text; empty where its text has no number."""
    return _numbers().get((table, decoder, regime, group, measure), "")

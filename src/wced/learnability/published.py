"""Numbers of the BMFM-RNA paper's text (sections 2.2 and 10), shown beside those of a run."""

from functools import cache
from pathlib import Path

from wced.tables import read_text


@cache
def _numbers() -> dict[tuple[str, ...], str]:
    rows = read_text(Path(__file__).with_name("published.tsv"), "the paper's numbers")
    return {tuple(row[:5]): row[5] for row in rows.itertuples(index=False)}


def published(table: str, decoder: str, regime: str, measure: str, group: str = "") -> str:
    """Return what the paper says of a measure, as text; empty where its text has no number."""
    return _numbers().get((table, decoder, regime, group, measure), "")

"""Write the measured table into its page: `python -m wced.bench.page TABLE PAGE`."""

import json
import sys
from pathlib import Path

import pandas as pd

from wced import tables
from wced.errors import WcedError
from wced.files import existing, whole_file
from wced.provenance import provenance_path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def _section(frame: pd.DataFrame) -> str:
    """Return the table of one work at one length."""
    first = frame.iloc[0]
    title = first["work"] + (f", length {first['length']:,}" if first["length"] else "")
    lines = [
        f"### {title}",
        "",
        "| system | version | cells/s | slowest to fastest | ours is faster by | tokens/s | grown MB | entropy |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in frame.itertuples():
        if row.reason:
            lines.append(f"| {row.system} | {row.version} | none: {row.reason} | | | | | |")
            continue
        lines.append(
            f"| {row.system} | {row.version} | {row.cells_per_second:,.0f} | {row.min:,.0f} to {row.max:,.0f} "
            f"| {_number(row.ratio_of_ours, '.2f')} | {row.tokens_per_second / 1e6:,.1f} M "
            f"| {_number(row.grown_mb, ',.0f')} | {_number(row.entropy_ratio, '.1%')} |"
        )
    return "\n".join(lines)


def measured(frame: pd.DataFrame, record: dict) -> str:
    """Return the measured part of the page from a table of `wced.tables.THROUGHPUT` and how it was made."""
    asked, here = record["section"], record["machine"]
    head = (
        f"Measured with version {record['wced']} on {here['cores']} cores of '{here['processor']}' with "
        f"{here['cache_mib']} MiB of last-level cache: {asked['cells']:,} cells, batches of "
        f"{frame['batch_size'].iloc[0]}, medians of {asked['repeats']} repeats of at least {asked['seconds']:g} s."
    )
    settings = frame[frame["work"] != "write_shards"].drop_duplicates("system")
    listed = [f"- `{row.system}`: {row.protocol.partition('; finished')[0]}" for row in settings.itertuples()]
    sections = [_section(part) for _, part in frame.groupby(["work", "length"], sort=False)]
    return "\n\n".join([head, *sections, "### Settings", "\n".join(listed)])


def write_page(table: str | Path, page: str | Path) -> None:
    """Put the table between the marks of the page; the rest of the page stays as it is.

    Raises
    ------
    WcedError
        If a file is missing, or the page has not both marks.
    """
    page = existing(page, "the page of the throughput")
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise WcedError(f"{page}: lacks the marks {BEGIN} and {END}")
    frame = tables.read(tables.THROUGHPUT, table)
    record = json.loads(existing(provenance_path(table), "how the table was made").read_text())
    with whole_file(page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{measured(frame, record)}\n{END}{after}")


if __name__ == "__main__":
    write_page(*sys.argv[1:])

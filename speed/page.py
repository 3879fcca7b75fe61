"""Write a measured table into its page: `python -m speed.page TABLE PAGE`."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from wced import tables
from wced.errors import WcedError
from wced.files import existing, whole_file
from wced.provenance import provenance_path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TITLES = ("system", "version", "cells/s", "slowest to fastest", "ours is faster by", "tokens/s", "grown MB", "entropy")
STEP_TITLES = (
    *("work", "device", "precision", "SwiGLU width", "length", "cells", "seconds (fastest to slowest)", "cells/s"),
    *("tokens/s", "GFLOP", "GFLOP/s", "torch.matmul", "peak", "of torch.matmul", "of the peak", "peak MB"),
    "padding (unsorted, in buckets)",
)


def _table(titles: Sequence[str], left: int, rows: Iterable[str]) -> str:
    """Return a Markdown table whose first `left` columns are aligned to the left, the others to the right."""
    rule = "|---" * left + "|---:" * (len(titles) - left) + "|"
    return "\n".join([f"| {' | '.join(titles)} |", rule, *rows])


def _machine(record: dict) -> str:
    return f"{record['machine']['cores']} cores of '{record['machine']['processor']}'"


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def _row(row) -> str:
    if row.reason:
        return f"| {row.system} | {row.version} | none: {row.reason} | | | | | |"
    return (
        f"| {row.system} | {row.version} | {row.cells_per_second:,.0f} | {row.min:,.0f} to {row.max:,.0f} "
        f"| {_number(row.ratio_of_ours, '.2f')} | {row.tokens_per_second / 1e6:,.1f} M "
        f"| {_number(row.grown_mb, ',.0f')} | {_number(row.entropy_ratio, '.1%')} |"
    )


def measured(frame: pd.DataFrame, record: dict) -> str:
    """Return the measured part of the page from a table of `wced.tables.THROUGHPUT` and its provenance."""
    options = record["section"]
    parts = [
        f"Measured with version {record['wced']} on {_machine(record)} with {record['machine']['cache_mib']} MiB of "
        f"last-level cache: {options['cells']:,} cells, batches of {frame['batch_size'].iloc[0]}, medians of "
        f"{options['repeats']} repeats of at least {options['seconds']:g} s."
    ]
    for (work, length), rows in frame.groupby(["work", "length"], sort=False):
        parts.append(f"### {work}" + (f", length {length:,}" if length else ""))
        parts.append(_table(TITLES, 2, map(_row, rows.itertuples())))
    settings = frame[frame["work"] != "write_shards"].drop_duplicates("system")
    items = [f"- `{row.system}`: {row.protocol.partition('; finished')[0]}" for row in settings.itertuples()]
    return "\n\n".join([*parts, "### Settings", "\n".join(items)])


def _step_row(row) -> str:
    rates = (row.flops, row.flops_per_second, row.matmul_flops_per_second, row.peak_flops_per_second)
    return (
        f"| {row.work} | {row.device} | {row.precision} | {row.intermediate_size:,} | {row.length:,} "
        f"| {row.batch_size} | {row.seconds:.3g} ({row.min:.3g} to {row.max:.3g}) | {row.cells_per_second:,.1f} "
        f"| {row.tokens_per_second:,.0f} | {' | '.join(f'{rate / 1e9:,.0f}' for rate in rates)} "
        f"| {row.share_of_matmul:.0%} | {row.share_of_peak:.0%} | {row.peak_mb:,.0f} "
        f"| {row.padding:.1%} ({row.padding_unsorted:.1%}, {row.padding_bucketed:.1%}) |"
    )


def measured_steps(frame: pd.DataFrame, record: dict) -> str:
    """Return the measured part of the page from a table of `wced.tables.STEP_BENCHMARK` and its provenance."""
    head = (
        f"Measured with version {record['wced']}, torch {record['packages']['torch']} and {frame['threads'].iloc[0]} "
        f"threads on {_machine(record)}, medians."
    )
    return f"{head}\n\n{_table(STEP_TITLES, 3, map(_step_row, frame.itertuples()))}"


KINDS = {"throughput": (tables.THROUGHPUT, measured), "steps": (tables.STEP_BENCHMARK, measured_steps)}
"""Schema of the table of each command, and the function that writes it as Markdown."""


def write_page(table: str | Path, page: str | Path) -> None:
    """Put the table between the marks of the page.

    Raises WcedError if a file or a mark is missing, or another command made the table.
    """
    page = existing(page, "the page of a measured table")
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise WcedError(f"{page}: lacks the marks {BEGIN} and {END}")
    record = json.loads(existing(provenance_path(table), "the provenance of the table").read_text())
    if record["command"] not in KINDS:
        raise WcedError(f"{table}: tables of the command {record['command']} have no page")
    schema, to_markdown = KINDS[record["command"]]
    with whole_file(page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{to_markdown(tables.read(schema, table), record)}\n{END}{after}")


if __name__ == "__main__":
    write_page(*sys.argv[1:])

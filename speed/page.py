"""Write a measured table into its page: `python -m speed.page TABLE PAGE`."""

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


STEP_TITLES = (
    *("work", "device", "precision", "SwiGLU width", "length", "cells", "seconds (fastest to slowest)", "cells/s"),
    *("tokens/s", "GFLOP", "GFLOP/s", "torch.matmul", "peak", "of torch.matmul", "of the peak", "peak MB"),
    "padding (unsorted, in buckets)",
)


def measured_steps(frame: pd.DataFrame, record: dict) -> str:
    """Return the measured part of the page from a table of `wced.tables.STEP_BENCHMARK` and how it was made."""
    here, packages = record["machine"], record["packages"]
    lines = [
        f"Measured with version {record['wced']}, torch {packages['torch']} and {frame['threads'].iloc[0]} threads on "
        f"{here['cores']} cores of '{here['processor']}', medians.",
        "",
        f"| {' | '.join(STEP_TITLES)} |",
        "|---|---|---|" + "---:|" * (len(STEP_TITLES) - 3),
    ]
    for row in frame.itertuples():
        rates = (row.flops, row.flops_per_second, row.matmul_flops_per_second, row.peak_flops_per_second)
        lines.append(
            f"| {row.work} | {row.device} | {row.precision} | {row.intermediate_size:,} | {row.length:,} "
            f"| {row.batch_size} | {row.seconds:.3g} ({row.min:.3g} to {row.max:.3g}) | {row.cells_per_second:,.1f} "
            f"| {row.tokens_per_second:,.0f} | {' | '.join(f'{rate / 1e9:,.0f}' for rate in rates)} "
            f"| {row.share_of_matmul:.0%} | {row.share_of_peak:.0%} | {row.peak_mb:,.0f} "
            f"| {row.padding:.1%} ({row.padding_unsorted:.1%}, {row.padding_bucketed:.1%}) |"
        )
    return "\n".join(lines)


KINDS = {
    "throughput": (tables.THROUGHPUT, measured),
    "steps": (tables.STEP_BENCHMARK, measured_steps),
}
"""By the command that made the table: its schema, and what is made of it."""


def write_page(table: str | Path, page: str | Path) -> None:
    """Put the table between the marks of the page; the rest of the page stays as it is.

    Raises
    ------
    WcedError
        If a file is missing, the page has not both marks, or the table is of another kind.
    """
    page = existing(page, "the page of a measured table")
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise WcedError(f"{page}: lacks the marks {BEGIN} and {END}")
    record = json.loads(existing(provenance_path(table), "how the table was made").read_text())
    if record["command"] not in KINDS:
        raise WcedError(f"{table}: {record['command']} made it, whose tables have no page")
    schema, made = KINDS[record["command"]]
    with whole_file(page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{made(tables.read(schema, table), record)}\n{END}{after}")


if __name__ == "__main__":
    write_page(*sys.argv[1:])

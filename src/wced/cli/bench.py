"""Commands that measure speed; they need no Snakemake."""

from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the commands `throughput`, `bench-selection` and `bench-steps`."""
    app.command()(throughput)
    app.command("bench-selection")(bench_selection)
    app.command("bench-steps")(bench_steps)


def throughput(
    output: Annotated[Path, typer.Option(help="Table to write.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where the generated cells and the logs go; none for beside the table's folder.")
    ] = None,
    cells: Annotated[int, typer.Option(min=1, help="Cells to generate.")] = 60_000,
    repeats: Annotated[int, typer.Option(min=1, help="Timed repeats of each; the systems take turns.")] = 3,
    seconds: Annotated[float, typer.Option(min=0, help="How long a repeat lasts at least.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cells.")] = 0,
    systems: Annotated[str, typer.Option(help="Systems to measure, between commas; empty for all.")] = "",
    works: Annotated[str, typer.Option(help="Works to measure, between commas; empty for all.")] = "",
    lengths: Annotated[str, typer.Option(help="Lengths of the sequences, between commas.")] = "512,2048,8192",
    device: Annotated[str, typer.Option(help="Where the dense form of the target is made: cpu or cuda.")] = "cpu",
    peers_python: Annotated[
        Path, typer.Option(help="Python of the environment of the other loaders (envs/peers.lock).")
    ] = Path(".venv-peers/bin/python"),
) -> None:
    """Measure the making of shards and batches beside other loaders, on the same generated cells."""
    from wced.bench.machine import machine
    from wced.bench.run import throughput as measure
    from wced.bench.systems import WORKS
    from wced.errors import WcedError
    from wced.provenance import recorded

    try:
        wanted = [int(length) for length in lengths.split(",")]
    except ValueError:
        raise WcedError(f"--lengths {lengths!r}: not whole numbers between commas") from None
    asked = {"cells": cells, "repeats": repeats, "seconds": seconds, "seed": seed, "device": device}
    with recorded(output, command="throughput", section=asked, inputs={}) as facts:
        facts["machine"] = machine()
        measure(
            output, folder or output.parent.parent, **asked, peers_python=peers_python,
            systems=[name for name in systems.split(",") if name],
            works=[name for name in works.split(",") if name] or WORKS, lengths=wanted,
        )  # fmt: skip


def bench_selection(
    output: Annotated[Path, typer.Option(help="Table to write.")],
    rows: Annotated[str, typer.Option(help="Cells of the generated obs tables, between commas.")] = "1000000,10000000",
    extrapolate_to: Annotated[
        int, typer.Option(min=1, help="Cells that the two largest tables are extrapolated to; the row is marked so.")
    ] = 62_600_000,
) -> None:
    """Measure time and memory of selecting, sampling and splitting the cells of generated obs tables."""
    from wced import tables
    from wced.bench.selection import SECTION, measure
    from wced.errors import WcedError
    from wced.provenance import recorded

    try:
        sizes = [int(n) for n in rows.split(",")]
    except ValueError:
        raise WcedError(f"--rows {rows!r}: not whole numbers between commas") from None
    if min(sizes) < 1:
        raise WcedError(f"--rows {rows}: a table has at least one cell")
    with recorded(output, command="bench-selection", section=SECTION.model_dump(), inputs={}):
        tables.write(measure(sizes, extrapolate_to), tables.SELECTION_BENCHMARK, output)


def bench_steps(
    output: Annotated[Path, typer.Option(help="Table to write.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    works: Annotated[str, typer.Option(help="Works to measure, between commas.")] = "mlm_step,wced_step,embedding",
    precisions: Annotated[
        str, typer.Option(help="Precisions, between commas; one that the device does not multiply in gives no row.")
    ] = "fp32,bf16",
    widths: Annotated[str, typer.Option(help="Widths of the feed-forward layers, between commas.")] = "1024,1536",
    lengths: Annotated[str, typer.Option(help="Lengths of the sequences, between commas.")] = "512,2048",
    batch_size: Annotated[int, typer.Option(min=1, help="Cells of a step.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Timed steps of each.")] = 5,
) -> None:
    """Measure training steps and embedding at the paper's size beside the device's best matrix products."""
    from wced import tables
    from wced.bench.machine import machine
    from wced.bench.steps import measure
    from wced.errors import WcedError
    from wced.provenance import recorded

    numbers = {}
    for name, given in (("widths", widths), ("lengths", lengths)):
        try:
            numbers[name] = [int(number) for number in given.split(",")]
        except ValueError:
            raise WcedError(f"--{name} {given!r}: not whole numbers between commas") from None
        if min(numbers[name]) < 2:
            raise WcedError(f"--{name} {given}: one is below 2")
    asked = {"device": device, "batch_size": batch_size, "repeats": repeats, **numbers}
    asked |= {"works": works.split(","), "precisions": precisions.split(",")}
    with recorded(output, command="bench-steps", section=asked, inputs={}) as facts:
        facts["machine"] = machine()
        tables.write(measure(**asked, done=_say), tables.STEP_BENCHMARK, output)


def _say(row: dict[str, Any]) -> None:
    print(
        f"{row['work']} {row['precision']} width {row['intermediate_size']} length {row['length']}: "
        f"{row['seconds']:.3f} s, {row['cells_per_second']:.1f} cells/s, {row['flops_per_second'] / 1e9:,.0f} GFLOP/s, "
        f"{row['share_of_matmul']:.0%} of torch.matmul, {row['share_of_peak']:.0%} of the peak", flush=True,
    )  # fmt: skip

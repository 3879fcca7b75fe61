"""What is measured: loaders, selection of cells, training steps, recipes. None needs Snakemake."""

from pathlib import Path
from typing import Annotated, Any

from wced.cli.frame import Input, Option, Output, command, record
from wced.config.run import section as read_section
from wced.config.speedrun import Speedrun
from wced.errors import WcedError

Table = Annotated[Path, Output("Table to write.")]


@command
def throughput(
    output: Table,
    folder: Annotated[
        Path | None, Option("Where the generated cells and the logs go; none for beside the table's folder.")
    ] = None,
    cells: Annotated[int, Option("Cells to generate.", min=1)] = 60_000,
    repeats: Annotated[int, Option("Timed repeats of each; the systems take turns.", min=1)] = 3,
    seconds: Annotated[float, Option("How long a repeat lasts at least.", min=0)] = 1.0,
    seed: Annotated[int, Option("Seed of the cells.", min=0)] = 0,
    systems: Annotated[str, Option("Systems to measure, between commas; empty for all.")] = "",
    works: Annotated[str, Option("Works to measure, between commas; empty for all.")] = "",
    lengths: Annotated[str, Option("Lengths of the sequences, between commas.")] = "512,2048,8192",
    device: Annotated[str, Option("Where the dense form of the target is made: cpu or cuda.")] = "cpu",
    peers_python: Annotated[Path, Option("Python of the environment of the other loaders (envs/peers.lock).")] = Path(
        ".venv-peers/bin/python"
    ),
) -> None:
    """Measure the making of shards and batches beside other loaders, on the same generated cells."""
    from speed.machine import machine
    from speed.run import throughput as measure
    from speed.systems import WORKS

    wanted = _numbers("lengths", lengths)
    asked = {"cells": cells, "repeats": repeats, "seconds": seconds, "seed": seed, "device": device}
    with record(section=asked, seed=None) as facts:
        facts["machine"] = machine()
        measure(
            output, folder or output.parent.parent, **asked, peers_python=peers_python,
            systems=[name for name in systems.split(",") if name],
            works=[name for name in works.split(",") if name] or WORKS, lengths=wanted,
        )  # fmt: skip


@command
def selection(
    output: Table,
    rows: Annotated[str, Option("Cells of the generated obs tables, between commas.")] = "1000000,10000000",
    extrapolate_to: Annotated[
        int, Option("Cells that the two largest tables are extrapolated to; the row is marked so.", min=1)
    ] = 62_600_000,
) -> None:
    """Measure time and memory of selecting, sampling and splitting the cells of generated obs tables."""
    from speed.selection import SECTION, measure
    from wced import tables

    sizes = _numbers("rows", rows)
    if min(sizes) < 1:
        raise WcedError(f"--rows {rows}: a table has at least one cell")
    with record(section=SECTION.model_dump()):
        tables.write(measure(sizes, extrapolate_to), tables.SELECTION_BENCHMARK, output)


@command
def steps(
    output: Table,
    device: Annotated[str, Option("cpu or cuda.")] = "cpu",
    works: Annotated[str, Option("Works to measure, between commas.")] = "mlm_step,wced_step,embedding",
    precisions: Annotated[
        str, Option("Precisions, between commas; one that the device does not multiply in gives no row.")
    ] = "fp32,bf16",
    widths: Annotated[str, Option("Widths of the feed-forward layers, between commas.")] = "1024,1536",
    lengths: Annotated[str, Option("Lengths of the sequences, between commas.")] = "512,2048",
    batch_size: Annotated[int, Option("Cells of a step.", min=1)] = 8,
    repeats: Annotated[int, Option("Timed steps of each.", min=1)] = 5,
) -> None:
    """Measure training steps and embedding at the paper's size beside the device's best matrix products."""
    from speed.machine import machine
    from speed.steps import measure
    from wced import tables

    numbers = {}
    for name, given in (("widths", widths), ("lengths", lengths)):
        numbers[name] = _numbers(name, given)
        if min(numbers[name]) < 2:
            raise WcedError(f"--{name} {given}: one is below 2")
    asked = {"device": device, "batch_size": batch_size, "repeats": repeats, **numbers}
    asked |= {"works": works.split(","), "precisions": precisions.split(",")}
    with record(section=asked) as facts:
        facts["machine"] = machine()
        tables.write(measure(**asked, done=_say), tables.STEP_BENCHMARK, output)


def _numbers(name: str, given: str) -> list[int]:
    """Return the whole numbers of an option."""
    try:
        return [int(number) for number in given.split(",")]
    except ValueError:
        raise WcedError(f"--{name} {given!r}: not whole numbers between commas") from None


def _say(row: dict[str, Any]) -> None:
    print(
        f"{row['work']} {row['precision']} width {row['intermediate_size']} length {row['length']}: "
        f"{row['seconds']:.3f} s, {row['cells_per_second']:.1f} cells/s, {row['flops_per_second'] / 1e9:,.0f} GFLOP/s, "
        f"{row['share_of_matmul']:.0%} of torch.matmul, {row['share_of_peak']:.0%} of the peak", flush=True,
    )  # fmt: skip


@command
def speedrun(
    index: Annotated[Path, Input("Index of the shards, which stand beside it.")],
    sources: Annotated[Path, Option("Folder with the scored datasets, <dataset>.h5ad, harmonised.")],
    output: Annotated[Path, Output("Folder to make.")],
    section: Annotated[Speedrun | None, Option("Config section `speedrun`, JSON or a file; or, instead:")] = None,
    config: Annotated[Path | None, Option("YAML file with the section `speedrun`.")] = None,
    table: Annotated[Path, Input("Table of datasets, which says what is held out.")] = Path("config/datasets.tsv"),
    held_out: Annotated[bool, Option("Score held-out datasets too: only for a recipe that is frozen.")] = False,
) -> None:
    """Train a recipe for minutes and score its embeddings on the way, beside PCA, HVG and the untrained encoder."""
    from speed.speedrun import speedrun as run
    from wced.corpus.datasets import read_datasets
    from wced.shards.reader import folder_of

    if (section is None) == (config is None):
        raise WcedError("speedrun: give exactly one of --section and --config")
    settings = section or read_section(Speedrun, str(config), "speedrun")
    inputs = {"index": index, "table": table}
    inputs |= {path.stem: path for path in (sources / f"{name}.h5ad" for name in settings.datasets) if path.exists()}
    with record(section=settings.model_dump(), inputs=inputs) as facts:
        facts.update(run(output, folder_of(index), sources, settings, read_datasets(table), held_out=held_out))

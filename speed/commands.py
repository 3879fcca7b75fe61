"""The commands of the measurements: loaders, selection of cells, training steps, recipes. None needs Snakemake."""

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
        Path | None, Option("Folder for the generated cells and the logs; none for beside the table's folder.")
    ] = None,
    cells: Annotated[int, Option("Cells to generate.", min=1)] = 60_000,
    repeats: Annotated[int, Option("Timed repeats of each; the systems take turns.", min=1)] = 3,
    seconds: Annotated[float, Option("Shortest time of a repeat.", min=0)] = 1.0,
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

    options = {"cells": cells, "repeats": repeats, "seconds": seconds, "seed": seed, "device": device}
    choice = {
        "systems": list(filter(None, systems.split(","))),
        "works": list(filter(None, works.split(","))) or WORKS,
        "lengths": _numbers("lengths", lengths),
    }
    with record(section=options, seed=None) as facts:
        facts["machine"] = machine()
        measure(output, folder or output.parent.parent, **options, **choice, peers_python=peers_python)


@command
def selection(
    output: Table,
    rows: Annotated[str, Option("Cells of the generated obs tables, between commas.")] = "1000000,10000000",
    extrapolate_to: Annotated[
        int, Option("Cells to extrapolate to from the two largest tables; these rows are marked.", min=1)
    ] = 62_600_000,
) -> None:
    """Measure time and memory of selecting, sampling and splitting the cells of generated obs tables."""
    from speed.selection import SECTION, measure
    from wced import tables

    sizes = _numbers("rows", rows, least=1)
    with record(section=SECTION.model_dump()):
        tables.write(measure(sizes, extrapolate_to), tables.SELECTION_BENCHMARK, output)


@command
def steps(
    output: Table,
    device: Annotated[str, Option("cpu or cuda.")] = "cpu",
    works: Annotated[str, Option("Works to measure, between commas.")] = "mlm_step,wced_step,embedding",
    precisions: Annotated[
        str, Option("Precisions, between commas; one that the device does not multiply in has no row.")
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

    options = {"device": device, "batch_size": batch_size, "repeats": repeats}
    options |= {"widths": _numbers("widths", widths, least=2), "lengths": _numbers("lengths", lengths, least=2)}
    options |= {"works": works.split(","), "precisions": precisions.split(",")}
    with record(section=options) as facts:
        facts["machine"] = machine()
        tables.write(measure(**options, done=_print), tables.STEP_BENCHMARK, output)


def _numbers(option: str, text: str, least: int | None = None) -> list[int]:
    """Return the whole numbers of an option; raise WcedError if one is below the least."""
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        raise WcedError(f"--{option} {text!r}: give whole numbers between commas") from None
    if least is not None and min(numbers) < least:
        raise WcedError(f"--{option} {text}: each number must be {least} or more")
    return numbers


def _print(row: dict[str, Any]) -> None:
    print(
        f"{row['work']} {row['precision']} width {row['intermediate_size']} length {row['length']}: "
        f"{row['seconds']:.3f} s, {row['cells_per_second']:.1f} cells/s, {row['flops_per_second'] / 1e9:,.0f} GFLOP/s, "
        f"{row['share_of_matmul']:.0%} of torch.matmul, {row['share_of_peak']:.0%} of the peak", flush=True,
    )  # fmt: skip


@command
def speedrun(
    index: Annotated[Path, Input("Index of the shards, which are beside it.")],
    sources: Annotated[Path, Option("Folder with the scored datasets, <dataset>.h5ad, harmonised.")],
    output: Annotated[Path, Output("Folder to make.")],
    section: Annotated[Speedrun | None, Option("Config section `speedrun`, JSON or a file; or, instead:")] = None,
    config: Annotated[Path | None, Option("YAML file with the section `speedrun`.")] = None,
    table: Annotated[Path, Input("Table of datasets, with those that are held out.")] = Path("config/datasets.tsv"),
    held_out: Annotated[bool, Option("Score held-out datasets too: only for a recipe that is frozen.")] = False,
) -> None:
    """Train a recipe for minutes and score its embeddings on the way, beside PCA, HVG and the untrained encoder."""
    from speed.speedrun import speedrun as run
    from wced.corpus.datasets import read_datasets
    from wced.shards.reader import folder_of

    if (section is None) == (config is None):
        raise WcedError("speedrun: give exactly one of --section and --config")
    settings = section or read_section(Speedrun, str(config), "speedrun")
    files = [sources / f"{name}.h5ad" for name in settings.datasets]
    inputs = {"index": index, "table": table} | {path.stem: path for path in files if path.exists()}
    with record(section=settings.model_dump(), inputs=inputs) as facts:
        facts.update(run(output, folder_of(index), sources, settings, read_datasets(table), held_out=held_out))

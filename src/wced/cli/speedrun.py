"""The command that measures time to quality."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command `speedrun`."""
    app.command()(speedrun)


def speedrun(
    index: Annotated[Path, typer.Option(help="Index of the shards, which stand beside it.")],
    sources: Annotated[Path, typer.Option(help="Folder with the scored datasets, <dataset>.h5ad, harmonised.")],
    output: Annotated[Path, typer.Option(help="Folder to make.")],
    section: Annotated[str | None, typer.Option(help="Config section `speedrun`, JSON or a file; or, instead:")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with the section `speedrun`.")] = None,
    table: Annotated[Path, typer.Option(help="Table of datasets, which says what is held out.")] = Path(
        "config/datasets.tsv"
    ),
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Score held-out datasets too: only for a recipe that is frozen.")
    ] = False,
) -> None:
    """Train a recipe for minutes and score its embeddings on the way, beside PCA, HVG and the untrained encoder."""
    from wced.bench.speedrun import speedrun as run
    from wced.config.run import section as read_section
    from wced.config.speedrun import Speedrun
    from wced.corpus.datasets import read_datasets
    from wced.errors import WcedError
    from wced.provenance import recorded
    from wced.shards.reader import folder_of

    if (section is None) == (config is None):
        raise WcedError("speedrun: give exactly one of --section and --config")
    settings = read_section(Speedrun, section) if config is None else read_section(Speedrun, str(config), "speedrun")
    inputs = {"index": index, "table": table}
    inputs |= {path.stem: path for path in (sources / f"{name}.h5ad" for name in settings.datasets) if path.exists()}
    with recorded(output, command="speedrun", section=settings.model_dump(), inputs=inputs) as facts:
        facts.update(run(output, folder_of(index), sources, settings, read_datasets(table), held_out=held_out))

"""The command that measures time to quality."""

import json
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
    section: Annotated[str | None, typer.Option(help="Config section `speedrun` as JSON; or, instead of it:")] = None,
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
    settings = read_section(Speedrun, _section_of(config) if section is None else section)
    inputs = {"index": index, "table": table}
    inputs |= {path.stem: path for path in (sources / f"{name}.h5ad" for name in settings.datasets) if path.exists()}
    with recorded(output, command="speedrun", section=settings.model_dump(), inputs=inputs) as facts:
        facts.update(run(output, folder_of(index), sources, settings, read_datasets(table), held_out=held_out))


def _section_of(path: Path) -> str:
    """Return the section `speedrun` of a YAML file as JSON."""
    import yaml

    from wced.errors import WcedError
    from wced.files import existing

    try:
        config = yaml.safe_load(existing(path, "a config").read_text())
    except yaml.YAMLError as failure:
        raise WcedError(f"{path}: not YAML: {' '.join(str(failure).split())}") from None
    if not isinstance(config, dict) or not isinstance(config.get("speedrun"), dict):
        raise WcedError(f"{path}: has no section speedrun")
    return json.dumps(config["speedrun"])

"""Commands of the room `pretraining`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config.pretraining import Pretraining
from wced.config.run import section as read_section


def register(app: typer.Typer) -> None:
    """Add the command `pretrain`."""
    app.command()(pretrain)


def pretrain(
    index: Annotated[Path, typer.Option(help="Index of the shards, which stand beside it.")],
    section: Annotated[str, typer.Option(help="Config section `pretraining` as JSON.")],
    name: Annotated[str, typer.Option(help="Which checkpoint of the section.")],
    state: Annotated[Path, typer.Option(help="Folder for the state from which a killed training goes on.")],
    output: Annotated[Path, typer.Option(help="Folder to make.")],
    seed: Annotated[int, typer.Option(help="Seed of weights, order and sequences.")] = 0,
) -> None:
    """Pretrain one checkpoint; the same command after a kill goes on from the last saved state."""
    from wced.errors import WcedError
    from wced.pretraining.train import pretrain as run
    from wced.provenance import recorded

    settings = read_section(Pretraining, section)
    if name not in settings.checkpoints:
        raise WcedError(f"pretraining.checkpoints: no checkpoint {name}; there are {', '.join(settings.checkpoints)}")
    used = settings.model_dump() | {"checkpoints": {name: settings.checkpoints[name].model_dump()}}
    with recorded(output, command="pretrain", section=used, inputs={"index": index}) as facts:
        facts.update(run(output, index.parent, state, settings, name, seed))

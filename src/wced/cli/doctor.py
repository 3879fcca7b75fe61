"""The command that looks whether a run can be made here."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command `doctor`."""
    app.command()(doctor)


def doctor(
    config: Annotated[
        Path | None, typer.Option(help="Config of a run (YAML) to look at too, with its datasets and archives.")
    ] = None,
) -> None:
    """Look at environment, GPU, memory, disk and config, and say what is wrong and what to do."""
    from wced.doctor import examine

    wrong = 0
    for finding in examine(config):
        wrong += finding.state == "wrong"
        print(f"{finding.state:<7}  {finding.about:<9}  {finding.text}", flush=True)
    if wrong:
        raise typer.Exit(1)

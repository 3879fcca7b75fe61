"""The command that joins tables of one schema, shared by the rooms whose jobs write one table each."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command `gather`."""
    app.command()(gather)


def gather(
    parts: Annotated[list[Path], typer.Argument(help="Tables, in the order in which they shall stand.")],
    schema: Annotated[str, typer.Option(help="Their schema, a name of wced.tables such as scores.")],
    output: Annotated[Path, typer.Option(help="Table to write.")],
) -> None:
    """Join tables of one schema into one."""
    from wced import tables
    from wced.errors import WcedError
    from wced.provenance import recorded

    if schema not in tables.TABLES:
        raise WcedError(f"--schema {schema}: no such table; there are {', '.join(tables.TABLES)}")
    table = tables.TABLES[schema]
    inputs = {str(i): path for i, path in enumerate(parts)}
    with recorded(output, command="gather", section={"schema": schema}, inputs=inputs):
        tables.write(tables.read(table, parts), table, output)

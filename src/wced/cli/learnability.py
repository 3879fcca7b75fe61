"""Commands of the room `learnability`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config import section as read_section
from wced.config.learnability import Learnability


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(learnability)


def learnability(
    errors: Annotated[list[Path], typer.Argument(help="Gene errors of each checkpoint (Parquet).")],
    section: Annotated[str, typer.Option("--section", help="Section of the config, as JSON.")],
    all_epochs: Annotated[Path, typer.Option(help="Errors of all epochs and checkpoints to write (Parquet).")],
    gene_errors: Annotated[Path, typer.Option(help="Errors of the last epochs to write.")],
    ranked: Annotated[Path, typer.Option(help="Most and least learnable genes to write.")],
    summary: Annotated[Path, typer.Option(help="One row per checkpoint to write.")],
):
    """Make the tables that say which genes the checkpoints learned to predict."""
    typed = read_section(Learnability, section)
    from wced import tables
    from wced.learnability import genes
    from wced.provenance import recorded

    inputs = {str(i): path for i, path in enumerate(errors)}
    with recorded(ranked, command="learnability", section=typed.model_dump(), inputs=inputs):
        every = tables.read(tables.GENE_ERRORS, errors)
        last = genes.last_epoch(every)
        tables.write(every, tables.GENE_ERRORS, all_epochs)
        tables.write(last, tables.GENE_ERRORS, gene_errors)
        tables.write(genes.ranked(last, min_nonzero=typed.min_nonzero, top=typed.top), tables.LEARNABILITY, ranked)
        tables.write(genes.summary(last, min_nonzero=typed.min_nonzero), tables.LEARNABILITY_SUMMARY, summary)

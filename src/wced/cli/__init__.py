"""The `wced` command: a thin shell over the public functions of the rooms, in the order in which data flows."""

import sys

import typer

from wced.cli import (
    ablation,
    annotation,
    bench,
    benchmarks,
    comparison,
    corpus,
    czi,
    embedding,
    genes,
    learnability,
    pretraining,
    report,
    shards,
    speedrun,
    tables,
)
from wced.errors import WcedError

app = typer.Typer(
    help="Pretrain transcriptomic foundation models and find out what they learned. Commands in flow order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for room in (
    corpus,
    czi,
    shards,
    pretraining,
    embedding,
    benchmarks,
    comparison,
    ablation,
    genes,
    tables,
    annotation,
    learnability,
    report,
    bench,
    speedrun,
):
    room.register(app)


def main() -> None:
    """Run the command; a WcedError is printed as one sentence and ends with status 1."""
    try:
        app()
    except WcedError as error:
        print(f"wced: {error}", file=sys.stderr)
        sys.exit(1)

"""The `wced` command: a thin shell over the public functions of the rooms, in the order in which data flows."""

import sys
from typing import Annotated

import typer

from wced.cli import bench, benchmarks, corpus, embedding, learnability, pretraining, provenance, report, shards
from wced.cli.failures import sentence
from wced.cli.frame import register

_debug = False
"""Whether the command that runs was given `--debug`."""

app = typer.Typer(
    help="Pretrain transcriptomic foundation models and find out what they learned. Commands in flow order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for room in (corpus, shards, pretraining, embedding, benchmarks, learnability, report, bench, provenance):
    register(app, room)


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="WCED_DEBUG", help="Show the traceback of an error, not one sentence.")
    ] = False,
) -> None:
    global _debug
    _debug = debug


def main() -> None:
    """Run the command; an error is one sentence and ends with status 1, or a traceback with `--debug`."""
    global _debug
    _debug = False
    try:
        app()
    except Exception as error:
        if _debug:
            raise
        print(f"wced: {sentence(error)}", file=sys.stderr)
        sys.exit(1)

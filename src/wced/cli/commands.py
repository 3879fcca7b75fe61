"""The `wced` command: a thin shell over the public functions of the rooms, in the order in which data flows."""

import sys
from types import ModuleType
from typing import Annotated

import typer

from wced.cli import benchmarks, corpus, embedding, learnability, pretraining, provenance, report, shards
from wced.cli.failures import sentence
from wced.cli.frame import register

_debug = False
"""Whether the command that runs was given `--debug`."""


def _options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="WCED_DEBUG", help="Show the traceback of an error, not one sentence.")
    ] = False,
) -> None:
    global _debug
    _debug = debug


def application(title: str, *modules: ModuleType) -> typer.Typer:
    """Return a command line with the commands of the modules, in their order."""
    app = typer.Typer(help=title, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(_options)
    for module in modules:
        register(app, module)
    return app


def run(app: typer.Typer) -> None:
    """Run a command line; an error is one sentence and ends with status 1, or a traceback with `--debug`."""
    global _debug
    _debug = False
    try:
        app()
    except Exception as error:
        if _debug:
            raise
        print(f"wced: {sentence(error)}", file=sys.stderr)
        sys.exit(1)


app = application(
    "Pretrain transcriptomic foundation models and find out what they learned. Commands in flow order.",
    *(corpus, shards, pretraining, embedding, benchmarks, learnability, report, provenance),
)


def main() -> None:
    """Run the `wced` command."""
    run(app)

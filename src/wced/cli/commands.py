"""The `wced` command: a thin shell over the public functions of the rooms, in the order in which data flows."""

import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

import wced
from wced.cli import benchmarks, corpus, doctor, embedding, learnability, pretraining, provenance, report, shards
from wced.cli.frame import COMMANDS
from wced.errors import WcedError

_debug = False
"""Whether the running command got `--debug`."""


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
    for function in (function for module in modules for function in COMMANDS[module.__name__]):
        app.command()(function)
    return app


def run(app: typer.Typer) -> None:
    """Run a command line; an error is one sentence and status 1, or a traceback with `--debug`."""
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
    *(corpus, shards, pretraining, embedding, benchmarks, learnability, report, provenance, doctor),
)


def main() -> None:
    """Run the `wced` command."""
    run(app)


# Messages of the system, by which errors are recognised: h5py and TileDB keep the words and lose the number.
_SYSTEM = {
    "No space left on device": "free some space, or write elsewhere, and run it again",
    "Disk quota exceeded": "free some space, or write elsewhere, and run it again",
    "File too large": "raise the limit on the size of files (ulimit -f), and run it again",
    "Read-only file system": "write elsewhere (`results` in the config), or make it writable",
    "Permission denied": "check who owns it and may write there",
    "No such file or directory": "it has just been removed or its name is wrong; restore it and run it again",
    "Too many open files": "raise the limit on open files (ulimit -n), and run it again",
}


def sentence(error: BaseException) -> str:
    """Return one sentence, without line breaks, that names what failed and what to do.

    It is the message of a WcedError; the file, if known, and advice for an error of the system (disk, permissions,
    memory); and for anything else its type, the line of code, and how to see the traceback.
    """
    if isinstance(error, WcedError):
        return _line(str(error))
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        for words, advice in _SYSTEM.items():
            if words in text:
                name = cause.filename2 or cause.filename if isinstance(cause, OSError) else None
                return f"{_line(text) if name is None else f'{name}: {words}'}; {advice}"
        if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
            detail = f" ({_line(text)})" if text else ""
            return f"out of memory{detail}; take more memory or smaller batches, and run it again"
        cause = cause.__cause__  # not what was only being handled when it was raised
    return (
        f"unexpected {type(error).__name__}{_location(error)}: {_line(str(error)) or 'no message'}; "
        "run it as `wced --debug …`, or with WCED_DEBUG=1 in the environment, to see the traceback"
    )


def _location(error: BaseException) -> str:
    """Return the innermost line of this package that the error passed, as ` in wced/shards/write.py, line 12`."""
    package = Path(wced.__file__).parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if package in Path(frame.filename).parents]
    return f" in wced/{Path(frames[-1].filename).relative_to(package)}, line {frames[-1].lineno}" if frames else ""


def _line(text: str) -> str:
    """Return a text on one line, shortened to what fits on a terminal."""
    text = " ".join(text.split())
    return text if len(text) <= 600 else f"{text[:599]}…"

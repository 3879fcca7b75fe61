"""The frame of every command: its parameters, and the record of how its outputs were made.

A command is a function whose parameters say what the command line shows of them, and which calls the functions of a
room. Its name is that of the function, its help the docstring::

    @command
    def umap(
        embeddings: Annotated[list[Path], Input("Embeddings of one dataset (h5ad), in order.")],
        /,  # arguments stand before it, options behind it
        section: Annotated[Report, Option("Section of the config, as JSON.")],
        seed: Annotated[int, Option("Seed.")],
        output: Annotated[Path, Output("Table of coordinates to write (Parquet).")],
    ) -> None:
        '''Lay out the embeddings of a dataset in two dimensions.'''
        from wced import tables  # within the function, so that the help is shown without slow imports
        from wced.report.figures import umaps

        with record():
            tables.write(umaps(embeddings, section.umap_neighbours, seed), tables.UMAP, output)

An option whose type is a section of the config takes JSON or the path of a file, and the function gets the typed model.
"""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from types import ModuleType
from typing import Annotated, Any, get_args

import typer

from wced.config.base import Section
from wced.config.run import section as read_section


@dataclass(frozen=True)
class Option:
    """What the command line says of a parameter; True or False is a flag."""

    help: str
    """Its sentence in the help."""
    name: str | None = None
    """Name of the option, `--umap`, where it is not that of the parameter."""
    min: float | None = None
    """Smallest number allowed."""
    max: float | None = None
    """Largest number allowed."""


class Input(Option):
    """A file, or several, that the command reads."""


class Output(Option):
    """A file or folder that the command makes."""


_commands: dict[str, list[Callable]] = {}
"""The commands of each module, by its name."""

_running: ContextVar[tuple[Callable, dict[str, Any]]] = ContextVar("running")
"""The command that runs, and its parameters."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function, which Python still can call, with sections as JSON, files or typed models."""
    declared = inspect.signature(function)
    shown = declared.replace(parameters=[_shown(parameter) for parameter in declared.parameters.values()])

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        bound = shown.bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        for name, parameter in declared.parameters.items():
            model = _model(get_args(parameter.annotation)[0])
            if model is not None and isinstance(values[name], str):
                values[name] = read_section(model, values[name])
        token = _running.set((function, values))
        try:
            function(*values.values())
        finally:
            _running.reset(token)

    run.__signature__ = shown
    run.__annotations__ = {name: parameter.annotation for name, parameter in shown.parameters.items()}
    _commands.setdefault(function.__module__, []).append(run)
    return run


def register(app: typer.Typer, room: ModuleType) -> None:
    """Add the commands of a module, in its order."""
    for run in _commands[room.__name__]:
        app.command()(run)


def record(**other: Any) -> AbstractContextManager[dict[str, Any]]:
    """Record how the running command makes its outputs: `wced.provenance.recorded`, filled in from its parameters.

    Parameters
    ----------
    other
        Instead of what follows from the parameters: `command`, its name; `section`, the content of the parameter
        `section`, or without one every plain `Option`; `inputs`, every `Input` by name, or by number if it is a list
        (None is left out); `outputs`, every `Output`, the main one first; `seed`, the parameter `seed`.
    """
    from wced.provenance import recorded

    function, values = _running.get()
    inputs, outputs, options = {}, [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        option, value = get_args(parameter.annotation)[1], values[name]
        if isinstance(option, Input):
            inputs |= {str(i): path for i, path in enumerate(value)} if isinstance(value, list) else {name: value}
        elif isinstance(option, Output):
            outputs += [] if value is None else [value]
        else:
            options[name] = value
    section = values.get("section")
    recipe = {
        "command": function.__name__.replace("_", "-"),
        "section": section.model_dump() if isinstance(section, Section) else options,
        "inputs": inputs,
        "outputs": outputs,
        "seed": values.get("seed"),
    } | other
    output, *also = recipe.pop("outputs")
    return recorded(output, also=also, **recipe)


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return what typer gets in place of a parameter."""
    kind, option = get_args(parameter.annotation)
    if _model(kind) is not None:
        kind = str | None if type(None) in get_args(kind) else str
    if parameter.kind is parameter.POSITIONAL_ONLY:
        info = typer.Argument(help=option.help)
    else:
        name = option.name or (f"--{parameter.name.replace('_', '-')}" if kind is bool else None)
        info = typer.Option(*([name] if name else []), help=option.help, min=option.min, max=option.max)
    return parameter.replace(kind=parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[kind, info])


def _model(kind: Any) -> type[Section] | None:
    """Return the section that an option is read into; None if it is of another type."""
    types = [part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, Section)]
    return types[0] if types else None

"""The frame of every command: its options, and the record of how its outputs were made.

A command is a function that calls the functions of a room. Its name and docstring are those of the command, and its
parameters become the options::

    @command
    def umap(
        embeddings: Annotated[list[Path], Input("Embeddings of one dataset (h5ad), in order.")],
        /,  # arguments before it, options after it
        section: Report,  # a section of the config, as JSON or the path of a file
        seed: Annotated[int, Option("Seed.")],
        output: Annotated[Path, Output("Table of coordinates to write (Parquet).")],
    ) -> None:
        '''Lay out the embeddings of a dataset in two dimensions.'''
        from wced import tables  # in the function, so that --help needs no slow imports
        from wced.report.figures import umaps

        with record():
            tables.write(umaps(embeddings, section.umap_neighbours, seed), tables.UMAP, output)
"""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_origin

import typer

from wced.config.base import Section
from wced.config.run import section as read_section


@dataclass(frozen=True)
class Option:
    """A parameter on the command line; a bool is a flag."""

    help: str
    """Its sentence in the help."""
    name: str | None = None
    """Name of the option, such as `--umap`, if it is not that of the parameter."""
    min: float | None = None
    """Smallest number allowed."""
    max: float | None = None
    """Largest number allowed."""


class Input(Option):
    """A file, or several, that the command reads."""


class Output(Option):
    """A file or folder that the command makes."""


COMMANDS: dict[str, list[Callable]] = {}
"""The commands of each module, by its name."""

_running: ContextVar[tuple[Callable, dict[str, Any]]] = ContextVar("running")
"""The running command and its arguments."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command; from Python it takes sections as JSON, files or typed models."""
    declared = inspect.signature(function)
    shown = declared.replace(parameters=[_shown(parameter) for parameter in declared.parameters.values()])

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        bound = shown.bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        for name, parameter in declared.parameters.items():
            model = _model(_declaration(parameter)[0])
            if model is not None and isinstance(values[name], str):
                values[name] = read_section(model, values[name])
        token = _running.set((function, values))
        try:
            function(*values.values())
        finally:
            _running.reset(token)

    run.__signature__ = shown
    run.__annotations__ = {name: parameter.annotation for name, parameter in shown.parameters.items()}
    COMMANDS.setdefault(function.__module__, []).append(run)
    return run


def record(**other: Any) -> AbstractContextManager[dict[str, Any]]:
    """Record how the running command makes its outputs: `wced.provenance.recorded` with values from its parameters.

    By default `section` is the parameter of that name, or without one every plain `Option`; `inputs` every `Input` by
    name, or by number if it is a list (None is left out); `outputs` every `Output`, the main one first; and `seed` the
    parameter of that name. `other` replaces them.
    """
    from wced.provenance import recorded

    function, values = _running.get()
    inputs, outputs, options = {}, [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        (_, option), value = _declaration(parameter), values[name]
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


def _declaration(parameter: inspect.Parameter) -> tuple[Any, Option]:
    """Return the type of a parameter and its option."""
    kind = parameter.annotation
    if get_origin(kind) is Annotated:
        return get_args(kind)
    return kind, Option(f"Section of the config ({kind.__name__} in config/README.md): JSON or the path of a file.")


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter as typer declares it."""
    kind, option = _declaration(parameter)
    if _model(kind) is not None:
        kind = str | None if type(None) in get_args(kind) else str
    if parameter.kind is parameter.POSITIONAL_ONLY:
        info = typer.Argument(help=option.help)
    else:
        name = option.name or (f"--{parameter.name.replace('_', '-')}" if kind is bool else None)
        info = typer.Option(*([name] if name else []), help=option.help, min=option.min, max=option.max)
    return parameter.replace(kind=parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[kind, info])


def _model(kind: Any) -> type[Section] | None:
    """Return the section of the config that an option's type names; None if it names none."""
    types = [part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, Section)]
    return types[0] if types else None

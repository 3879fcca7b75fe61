"""Reading YAML as its users mean it: each key once, and values as written until the schema gives their type."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from wced.errors import WcedError, one_line
from wced.files import existing


class Word(str):
    """The text of a value in which YAML 1.1 reads a number, a truth value or a date."""

    read_as: Any = None
    """What YAML 1.1 reads in it."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """A loader that keeps numbers, truth values and dates as text."""


def _word(loader: _Loader, node: yaml.ScalarNode) -> Word:
    word = Word(node.value)
    try:
        word.read_as = yaml.SafeLoader.yaml_constructors[node.tag](loader, node)
    except ValueError:  # 2025-02-30 is no date
        word.read_as = node.value
    return word


for _kind in ("bool", "int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _word)


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Return the mapping of a YAML or JSON file; all values except null, lists and mappings are text.

    Raises
    ------
    WcedError
        If the file does not exist, is not YAML, or has a key twice, at any depth.
    """
    try:
        loader = _Loader(existing(path, "a YAML file").read_bytes())
        node = loader.get_single_node()
        _check_keys(node, path, "", set())
        mapping = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as failure:
        remedy = "save it as UTF-8, indent with spaces, and put text that holds ': ', '#', '{' or '[' in quotes"
        raise WcedError(f"{path}: not YAML: {one_line(failure)}; {remedy}") from None
    if not isinstance(mapping, dict):
        raise WcedError(f"{path}: not a YAML mapping")
    return mapping


def _check_keys(node: yaml.Node | None, path: str | Path, above: str, seen: set[int]) -> None:
    """Refuse a key that a mapping has twice, of which YAML keeps the last, and one that is null."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))  # an alias is the same node
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path, above, seen)
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = f"{above}{key.value}", key.start_mark.line + 1
        if key.tag == "tag:yaml.org,2002:null":
            raise WcedError(f"{path}, line {line}: the key {key.value or 'before the colon'} is null; put it in quotes")
        if name in lines and key.tag != "tag:yaml.org,2002:merge":
            message = f"{name} is given twice, first in line {lines[name]}; keep one of them"
            raise WcedError(f"{path}, line {line}: {message}")
        lines[name] = line
        _check_keys(value, path, f"{name}.", seen)


def as_written(value: Any, files: Sequence[str | Path]) -> Any:
    """Return a config that Snakemake has read from `files`, in order, with values as they are written there.

    Values from elsewhere (`--config`, a module, another Snakefile) stay as they are.
    """
    for path in reversed(files):  # if files agree in a value, the last one says how it is written
        value = _with_words(value, read_mapping(path))
    return value


def _with_words(value: Any, written: Any) -> Any:
    if isinstance(value, dict) and isinstance(written, dict):
        names = {getattr(name, "read_as", name): name for name in written}
        pairs = ((names.get(name, name), part) for name, part in value.items())
        return {name: _with_words(part, written.get(name)) for name, part in pairs}
    if isinstance(value, list) and isinstance(written, list) and len(value) == len(written):
        return [_with_words(part, other) for part, other in zip(value, written, strict=True)]
    same = isinstance(written, Word) and type(value) is type(written.read_as) and value == written.read_as
    return written if same else value


def typed(config: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a config with text converted to the types of a JSON Schema, where that is possible.

    `5e-3` becomes a number where the schema has one, `2025-01-30` and `no` stay text where it has text, and a section
    or list without content becomes empty.
    """
    from jsonschema import Draft202012Validator

    config = copy.deepcopy(config)
    for error in _leaves(list(Draft202012Validator(schema).iter_errors(config))):
        if error.validator == "type" and error.absolute_path and error.validator_value in _CONVERTERS:
            value = _CONVERTERS[error.validator_value](error.instance)
            if value is not None:
                *above, last = error.absolute_path
                reduce(getitem, above, config)[last] = value
    return config


def _leaves(errors: Sequence[Any]) -> Iterator[Any]:
    """Yield the errors of a validation and, for a union, those of each of its members."""
    for error in errors:
        yield from _leaves(error.context) if error.context else (error,)


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        for kind in (int, float):
            with suppress(ValueError):
                number = kind(value)
                return number if math.isfinite(number) else None
    return None


_TRUTH = dict.fromkeys(("true", "yes", "on", "y"), True) | dict.fromkeys(("false", "no", "off", "n"), False)

_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "integer": _number,
    "boolean": lambda value: _TRUTH.get(value.lower()) if isinstance(value, str) else None,
    "string": lambda value: value.isoformat() if type(value) is date else None,
    "object": lambda value: {} if value is None else None,
    "array": lambda value: [] if value is None else None,
}
"""Conversion of a value to each type of JSON Schema; None if that is not possible."""

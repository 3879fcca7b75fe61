"""YAML as its users mean it: each key once, values as written, of the types that the schema has where they stand."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from wced.errors import WcedError, one_line
from wced.files import existing


class Word(str):
    """A value as it is written, where YAML 1.1 reads something else in it: a number, yes or no, a date."""

    read_as: Any = None
    """What YAML 1.1 reads in it."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """A loader that leaves numbers, truth values and dates as they are written."""


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
    """Read a YAML or JSON file whose top level is a mapping; what is neither null, list nor mapping in it is text.

    Raises
    ------
    WcedError
        If the file is not there, is not YAML, or gives a key twice, at any depth.
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
    seen.add(id(node))  # an alias is the node that it stands for
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
            raise WcedError(
                f"{path}, line {line}: {name} is given twice, first in line {lines[name]}; keep one of them"
            )
        lines[name] = line
        _check_keys(value, path, f"{name}.", seen)


def as_written(value: Any, files: Sequence[str | Path]) -> Any:
    """Return a config that Snakemake has read, with the words of its files in place of what YAML 1.1 reads in them.

    Values that come from elsewhere (`--config`, a module, another Snakefile) stay as they are.

    Parameters
    ----------
    value
        The config.
    files
        The files that it was read from, in order.
    """
    for path in reversed(files):  # of files that agree in a value, the last one says how it is written
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
    """Return a config whose words are of the types that a JSON Schema asks for; what can not be stays as it is.

    So `5e-3` is a number where one is wanted, `2025-01-30` and `no` are text where text is, and a section or a list
    with nothing in it is empty.
    """
    from jsonschema import Draft202012Validator

    config = copy.deepcopy(config)
    for error in _leaves(list(Draft202012Validator(schema).iter_errors(config))):
        if error.validator == "type" and error.absolute_path and error.validator_value in _OF_TYPE:
            made = _OF_TYPE[error.validator_value](error.instance)
            if made is not None:
                *above, last = error.absolute_path
                reduce(getitem, above, config)[last] = made
    return config


def _leaves(errors: Sequence[Any]) -> Iterator[Any]:
    """Give the errors of a validation and, of a union, those of each of its members."""
    for error in errors:
        yield from _leaves(error.context) if error.context else (error,)


def _number(value: Any) -> int | float | None:
    """Return the finite number that a text is, whole if it is whole."""
    if not isinstance(value, str):
        return None
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


_TRUTH = dict.fromkeys(("true", "yes", "on", "y"), True) | dict.fromkeys(("false", "no", "off", "n"), False)

_OF_TYPE: dict[str, Callable[[Any], Any]] = {
    "number": _number,
    "integer": _number,
    "boolean": lambda value: _TRUTH.get(value.lower()) if isinstance(value, str) else None,
    "string": lambda value: value.isoformat() if type(value) is date else None,
    "object": lambda value: {} if value is None else None,
    "array": lambda value: [] if value is None else None,
}
"""What a value that is not of a type of JSON Schema becomes to be of it; None where there is nothing that it means."""

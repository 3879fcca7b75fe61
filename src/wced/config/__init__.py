"""Typed config models: each field has a description, a unit where it needs one, and a default.

The way of a config::

    YAML ──read_mapping──► text ──typed──► types of the schema ──check──► Run
    Run ──a rule──► one section as JSON ──section──► its model, in a command
"""

from typing import Any

__all__ = ["Run", "as_written", "check", "json_schema", "read", "section"]


def __getattr__(name: str) -> Any:
    """Return a name of `__all__`, loaded when it is used: `Run` has sections of rooms that need `wced.config.base`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from wced.config import reading, run

    return getattr(reading if name == "as_written" else run, name)

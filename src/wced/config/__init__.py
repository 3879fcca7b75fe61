"""Typed config models: each field has a description, a unit where it needs one, and a default."""

from wced.config.reading import as_written
from wced.config.run import Run, check, json_schema, read, section

__all__ = ["Run", "as_written", "check", "json_schema", "read", "section"]

"""Typed config models: each field has a description, a unit where it needs one, and a default.

The way of a config::

    YAML ──read_mapping──► text ──typed──► types of the schema ──check──► Run
    Run ──a rule──► one section as JSON ──section──► its model, in a command
"""

from wced.config.reading import as_written
from wced.config.run import Run, check, json_schema, read, section

__all__ = ["Run", "as_written", "check", "json_schema", "read", "section"]

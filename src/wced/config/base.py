"""What every config section shares, and what a path in one is."""

from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A section of the config: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def local_path(text: str) -> str:
    """Return the path that a user has written, without `./`, `//` and a last slash.

    Raises
    ------
    ValueError
        If it is empty, or has what only a shell puts something in place of: `~`, `$`, braces.
    """
    if not text.strip():
        raise ValueError("a path is empty")
    for character in "${}":
        if character in text:
            raise ValueError(f"{text!r} has {character}, for which nothing is put in; write the whole path")
    if text.startswith("~"):
        raise ValueError(f"{text!r}: only a shell knows ~ as the home folder; write the whole path")
    return str(PurePath(text))


LocalPath = Annotated[str, AfterValidator(local_path)]
"""Path of a file or a folder on disk."""

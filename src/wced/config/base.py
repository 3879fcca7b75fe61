"""What all config sections share: strict keys, and types of values."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A section of the config: unknown keys are errors, and values are fixed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def local_path(text: str) -> str:
    """Return a path without `./`, `//` and a last slash; raise ValueError if it is empty or needs a shell."""
    if not text.strip():
        raise ValueError("a path is empty")
    for character in "${}":
        if character in text:
            raise ValueError(f"{text!r} has {character}, which is not replaced by anything; write the whole path")
    if text.startswith("~"):
        raise ValueError(f"{text!r}: only a shell knows ~ as the home folder; write the whole path")
    return str(PurePath(text))


def no_duplicates(values: Sequence) -> Sequence:
    """Return the values; raise ValueError for one that is duplicated."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is duplicated")
    return values


LocalPath = Annotated[str, AfterValidator(local_path)]
"""Path of a file or a folder on disk."""

NoDuplicates = AfterValidator(no_duplicates)
"""Marks a list whose values must differ."""

# Numbers of a range: from 1, from 0, above 0, from 0, from 0 to 1, from 0 and below 1.
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]

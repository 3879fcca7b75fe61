"""What every config section shares."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of the config: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

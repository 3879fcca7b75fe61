"""Config of the gene-level analysis."""

from pydantic import Field

from wced.config.base import Section


class Learnability(Section):
    """Which genes a model learns to predict."""

    min_nonzero: int = Field(100, ge=1)
    """Non-zero validation values that a gene needs to be called reliable."""
    top: int = Field(20, ge=1)
    """Genes listed at either end of the first table."""

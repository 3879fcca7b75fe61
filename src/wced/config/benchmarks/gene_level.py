"""Config of the gene-level tasks."""

from pydantic import Field

from wced.config.base import Section


class GeneLevel(Section):
    """What vectors of genes say of the genes: specificity and function, by linear models cross-validated over genes."""

    folds: int = Field(5, ge=2)
    """Folds of the cross-validation."""
    min_cells: int = Field(20, ge=1)
    """Training cells that must express a gene: what was hardly ever seen has the vector that it began with."""
    min_family: int = Field(20, ge=5)
    """Genes that a functional family needs; smaller ones are left out, and so are genes of no family."""

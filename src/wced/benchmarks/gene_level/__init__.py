"""Gene-level tasks: how far specificity and function of genes can be read from their vectors by linear models."""

from pydantic import Field

from wced.benchmarks.task import Metric
from wced.config.base import Section


class GeneLevel(Section):
    """What vectors of genes say of the genes: specificity and function, by linear models cross-validated over genes."""

    folds: int = Field(5, ge=2)
    """Folds of the cross-validation."""
    min_cells: int = Field(20, ge=1)
    """Training cells that must express a gene: one that was hardly ever seen keeps its initial vector."""
    min_family: int = Field(20, ge=5)
    """Genes that a functional family needs; smaller ones are left out, and so are genes of no family."""


SECTION = GeneLevel
TITLE = "What vectors of genes say of the genes"
METRICS = (
    Metric("r2_tissue", "Tissue specificity", "R² of tau over tissues (Human Protein Atlas) by ridge.", headline=True),
    Metric("r2_cell_type", "Cell-type specificity", "R² of tau over cell types by ridge."),
    Metric("macro_f1_family", "Family, F1", "Functional families by logistic regression, mean over families."),
    Metric("accuracy_family", "Family, acc."),
    Metric("auc_identity", "Identity, AUC", "Genes of a cell type's identity against all others, logistic regression."),
)

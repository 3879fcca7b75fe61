"""Config of the benchmark cell_type_classification."""

from pydantic import Field

from wced.config.benchmarks.base import Task


class Classification(Task):
    """Cell-type classification by a probe on frozen embeddings (cz-benchmarks' label prediction task)."""

    datasets: list[str]
    """Datasets with a cell type."""
    folds: int = Field(5, ge=2)
    """Folds of the stratified cross-validation."""
    min_class_size: int = Field(10, ge=2)
    """Classes with fewer cells are left out, and their cells counted in the notes."""

"""Config of the benchmark czi."""

from typing import ClassVar

from pydantic import Field

from wced.config.benchmarks.base import Task


class Czi(Task):
    """The tasks of cz-benchmarks: label prediction, clustering, embedding and batch integration."""

    mem_mb: ClassVar[int] = 6000

    datasets: list[str]
    """Datasets with a cell type."""
    folds: int = Field(5, ge=2)
    """Folds of the stratified cross-validation of label prediction (cz-benchmarks: 5)."""
    min_class_size: int = Field(10, ge=2)
    """Label prediction leaves classes with fewer cells out, and they are counted in the notes (cz-benchmarks: 10)."""
    seed: int = 42
    """Seed of folds, forest, clustering and neighbour search, whatever the seed of the run: with 42 the folds are those
    of the published tables of cz-benchmarks."""

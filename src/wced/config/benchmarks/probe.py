"""Config of the benchmark probe."""

from typing import Literal

from pydantic import Field

from wced.config.benchmarks.base import Task


class Probe(Task):
    """Linear classifiers of cell types on frozen embeddings, tested on batches or donors that they never saw."""

    datasets: list[str]
    """Datasets with a cell type and several batches or donors."""
    group: Literal["batch", "donor_id"] = "batch"
    """The obs column whose groups of cells are on one side of a split, whole."""
    folds: int = Field(5, ge=2)
    """Folds of whole groups; where there are fewer groups, each is a fold."""

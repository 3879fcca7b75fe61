"""Config of the benchmark zero_shot_integration."""

from pydantic import Field

from wced.config.benchmarks.base import Task


class Integration(Task):
    """Zero-shot batch integration, scored by scib-metrics."""

    datasets: list[str]
    """Datasets with a `batch` and a cell type."""
    neighbours: int = Field(15, ge=5)
    """Nearest neighbours of the graph that is clustered and whose connectivity is measured (scIB: 15)."""

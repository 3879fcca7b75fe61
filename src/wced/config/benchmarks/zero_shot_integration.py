"""Config of the benchmark zero_shot_integration."""

from typing import ClassVar

from wced.config.benchmarks.base import Input, Task


class Integration(Task):
    """Zero-shot batch integration, scored by scib-metrics."""

    needs: ClassVar[tuple[Input, ...]] = ("neighbours",)

    datasets: list[str]
    """Datasets with a `batch` and a cell type; of one batch, only how well cell types are kept apart is scored."""

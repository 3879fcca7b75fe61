"""Config of the benchmark transfer."""

from typing import ClassVar

from wced.config.benchmarks.base import Input, Task


class Transfer(Task):
    """Linear classifiers and neighbours, fitted on the embedding of one dataset and tested on those of others."""

    needs: ClassVar[tuple[Input, ...]] = ("reference",)

    datasets: list[str]
    """Datasets with a cell type that are tested on."""
    train_on: str
    """Dataset with a cell type that is trained on; it may be part of the pretraining corpus."""

"""What the config sections of all benchmarks share."""

from typing import ClassVar, Literal

from wced.config.base import Section

Input = Literal["neighbours", "annotation", "checkpoint", "source", "reference"]
"""What a task may read beside the embedding: its neighbour graph and clusterings; the labels that the ontology head
predicts; the folder of the model; the dataset's counts; the model's embedding of the section's `train_on`."""


class Task(Section):
    """One benchmark: datasets and settings. The module `wced.benchmarks.<key>` scores it."""

    needs: ClassVar[tuple[Input, ...]] = ()
    """What the task reads beside the embedding."""
    checkpoints_only: ClassVar[bool] = False
    """Whether only pretrained checkpoints can be scored, not baselines or embeddings from elsewhere."""
    mem_mb: ClassVar[int] = 4000
    """Memory that one job asks for, MB."""

    datasets: list[str]
    """Datasets that are scored; each must be in `embedding.datasets`."""

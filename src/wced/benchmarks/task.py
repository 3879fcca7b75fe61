"""What every benchmark declares: the section of the config, and how its metrics are shown."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from wced.config.base import Section

OTHERS = 15
"""Nearest other cells of a cell whose types are its neighbour purity."""
LEAST_DEPTH = 2
"""Least depth (links of the longest is_a path from `cell`) of an ancestor that says something about a cell.

At depths 0 and 1 are `cell`, `eukaryotic cell`, `nucleate cell`, `secretory cell`, `hematopoietic cell` and the like,
with hundreds of descendants; depth 2 begins with `leukocyte`, `epithelial cell`, `neural cell`, `endothelial cell`.
"""

Input = Literal["neighbours", "annotation", "checkpoint", "source", "reference"]
"""What a task may read beside the embedding: its neighbour graph and clusterings; the labels that the ontology head
predicts; the folder of the model; the dataset's counts; the model's embedding of the section's `train_on`."""


class Task(Section):
    """One benchmark: datasets and settings."""

    needs: ClassVar[tuple[Input, ...]] = ()
    """What the task reads beside the embedding."""
    checkpoints_only: ClassVar[bool] = False
    """Whether only pretrained checkpoints can be scored, not baselines or embeddings from elsewhere."""
    mem_mb: ClassVar[int] = 4000
    """Memory that one job asks for, MB."""

    datasets: list[str]
    """Datasets that are scored; each must be in `embedding.datasets`."""


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    name: str
    """As in the table of scores."""
    title: str
    """Heading of its column."""
    meaning: str = ""
    """One sentence for the caption."""
    headline: bool = False
    """Whether the text says which model is best at it."""
    ranks: bool = True
    """Whether it measures the model, so that the best value is marked."""
    higher_is_better: bool = True
    """Which end is the best."""


def by_method(metrics: Iterable[Metric], methods: Mapping[str, str], headlines: Collection[str]) -> tuple[Metric, ...]:
    """Return each metric of each method (`METRIC_METHOD`), whose titles `methods` has; the first has the meanings."""
    first = next(iter(methods))
    return tuple(
        replace(
            metric,
            name=f"{metric.name}_{method}",
            title=f"{metric.title}, {title}",
            meaning=metric.meaning if method == first else "",
            headline=f"{metric.name}_{method}" in headlines,
        )
        for metric in metrics
        for method, title in methods.items()
    )

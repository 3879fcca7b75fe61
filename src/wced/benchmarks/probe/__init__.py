"""Probe: what linear classifiers read of cell types from a frozen embedding, tested on groups that they never saw."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from wced.benchmarks.task import Metric, Task


class Probe(Task):
    """Linear classifiers of cell types on frozen embeddings, tested on batches or donors that they never saw."""

    datasets: list[str]
    """Datasets with a cell type and several batches or donors."""
    group: Literal["batch", "donor_id"] = "batch"
    """The obs column whose groups of cells are on one side of a split, whole."""
    folds: int = Field(5, ge=2)
    """Folds of whole groups; where there are fewer groups, each is a fold."""


CLASSIFIERS = {"lr": "logistic", "sgd": "SGD"}
"""Logistic regression, and a linear SVM by stochastic gradient descent (the classifier of the paper's Figure 5)."""
DISTANCES = ("lcad_errors", "lcad")
"""Distances in the Cell Ontology, each with the suffix of a classifier."""
_KINDS = (
    ("macro_f1", "F1", "F1: mean over cell types, so that rare ones count as much."),
    ("weighted_f1", "Weighted F1", "Weighted F1: each cell type counts by its cells."),
    ("accuracy", "Acc.", ""),
    ("lcad_errors", "LCAD", "LCAD: steps in the Cell Ontology from a wrong cell's true to its predicted type."),
    ("lcad", "LCAD of all", "LCAD of all: the same over all cells, 0 for right ones."),
)


def label_metrics(classifiers: Mapping[str, str]) -> tuple[Metric, ...]:
    """Return the metrics of classifiers' labels, each with the name of a classifier as its suffix.

    `classifiers` has the title of each by its name; the first has the headline and the meanings.
    """
    first = next(iter(classifiers))
    return tuple(
        Metric(
            f"{kind}_{name}",
            f"{title}, {classifiers[name]}",
            meaning if name == first else "",
            headline=(kind, name) == ("macro_f1", first),
            higher_is_better=kind not in DISTANCES,
        )
        for kind, title, meaning in _KINDS
        for name in classifiers
    )


SECTION = Probe
TITLE = "Cell types by linear probes, on batches or donors held out"
METRICS = label_metrics(CLASSIFIERS)

"""Probe: what linear classifiers read of cell types from a frozen embedding, tested on groups that they never saw."""

from typing import Literal

from pydantic import Field

from wced.benchmarks.task import Metric, Task, by_method


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
LABELS = (
    Metric("macro_f1", "F1", "F1: mean over cell types, so that rare ones count as much."),
    Metric("weighted_f1", "Weighted F1", "Weighted F1: each cell type counts by its cells."),
    Metric("accuracy", "Acc."),
    Metric("lcad_errors", "LCAD", "LCAD: links in the Cell Ontology from true to wrong type.", higher_is_better=False),
    Metric("lcad", "LCAD of all", "LCAD of all: the same over all cells, 0 for right ones.", higher_is_better=False),
)
"""What a classifier's labels are scored by."""
SECTION = Probe
TITLE = "Cell types by linear probes, on batches or donors held out"
METRICS = by_method(LABELS, CLASSIFIERS, headlines=["macro_f1_lr"])

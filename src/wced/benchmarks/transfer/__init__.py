"""Transfer: what classifiers of cell types that learned from one dataset know of another, study to study."""

from wced.benchmarks.probe import CLASSIFIERS as LINEAR
from wced.benchmarks.probe import label_metrics
from wced.benchmarks.task import Metric, Task


class Transfer(Task):
    """Linear classifiers and neighbours, fitted on the embedding of one dataset and tested on those of others."""

    needs = ("reference",)

    datasets: list[str]
    """Datasets with a cell type that are tested on."""
    train_on: str
    """Dataset with a cell type that is trained on; it may be part of the pretraining corpus."""


CLASSIFIERS = {**LINEAR, "knn": "neighbours"}
"""The probe's classifiers, and the majority among the nearest training cells."""
LINEAGE = (
    (
        "accuracy_lineage_known",
        "Lineage known",
        "Lineage known: exact or a coarser term that tells something; over all labelled cells, of any type.",
    ),
    ("accuracy_exact", "Exact", "Exact, coarser, finer (neither confirmed nor denied) and wrong add up to 1."),
    ("accuracy_coarser", "Coarser", ""),
    ("finer_unverified", "Finer", ""),
    ("wrong", "Wrong", ""),
)
"""Scores of `wced.benchmarks.matches.judgement_scores`, their titles and meanings."""
SECTION = Transfer
TITLE = "Cell types from one dataset to another, by linear probes and by neighbours"
METRICS = (
    *label_metrics(CLASSIFIERS),
    *(
        Metric(
            f"{kind}_{name}",
            f"{title}, {classifier}",
            meaning if name == "lr" else "",
            headline=kind == "accuracy_lineage_known" and name != "sgd",
            ranks=kind not in ("accuracy_coarser", "finer_unverified"),
            higher_is_better=kind != "wrong",
        )
        for kind, title, meaning in LINEAGE
        for name, classifier in CLASSIFIERS.items()
    ),
)

"""Transfer: what classifiers of cell types that learned from one dataset know of another, study to study."""

from wced.benchmarks import probe
from wced.benchmarks.probe import LABELS
from wced.benchmarks.task import Metric, Task, by_method


class Transfer(Task):
    """Linear classifiers and neighbours, fitted on the embedding of one dataset and tested on those of others."""

    needs = ("reference",)

    datasets: list[str]
    """Datasets with a cell type that are tested on."""
    train_on: str
    """Dataset with a cell type that is trained on; it may be part of the pretraining corpus."""


CLASSIFIERS = {**probe.CLASSIFIERS, "knn": "neighbours"}
"""The probe's classifiers, and the majority among the nearest training cells."""
LINEAGE = (
    Metric("accuracy_lineage_known", "Lineage known", "Lineage known: exact or coarser, over all labelled cells."),
    Metric("accuracy_exact", "Exact", "Exact, coarser, finer (neither confirmed nor denied) and wrong add up to 1."),
    Metric("accuracy_coarser", "Coarser", ranks=False),
    Metric("finer_unverified", "Finer", ranks=False),
    Metric("wrong", "Wrong", higher_is_better=False),
)
"""The scores of `wced.benchmarks.matches.judgement_scores`."""
SECTION = Transfer
TITLE = "Cell types from one dataset to another, by linear probes and by neighbours"
METRICS = (
    *by_method(LABELS, CLASSIFIERS, headlines=["macro_f1_lr"]),
    *by_method(LINEAGE, CLASSIFIERS, headlines=["accuracy_lineage_known_lr", "accuracy_lineage_known_knn"]),
)

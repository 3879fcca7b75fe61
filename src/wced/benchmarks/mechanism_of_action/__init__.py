"""Mechanism of action: whether an embedding tells what a drug does, judged on drugs that the classifier never saw."""

from typing import Literal

from pydantic import Field, model_validator

from wced.benchmarks.task import Metric, Task


class MechanismOfAction(Task):
    """A drug's mechanism of action, told from cells treated with drugs that the classifier never saw (Sci-Plex).

    The columns are those of the dataset's obs; `extra_obs` of its row in the table of datasets brings them there.
    """

    mem_mb = 8000

    datasets: list[str]
    """Datasets with drug and class columns."""
    drug_column: str = "product_name"
    """Column of obs with the drug of each cell."""
    class_column: str = "pathway_level_1"
    """Column of obs with the mechanism of action (MoA) of the drug."""
    controls: list[str] = ["Vehicle"]
    """Drugs or classes that are no treatment; their cells are left out."""
    dose_column: str | None = None
    """Column of obs with the dose; null where all cells had one dose."""
    dose: float | None = None
    """Dose at which viability is judged, in the units of the column (paper: 10,000 nM)."""
    viability_column: str | None = None
    """Column of obs with the share of cells that survive; null for no such filter."""
    max_viability: float = Field(0.85, gt=0)
    """Viability below which a drug acts strongly (paper: 0.85)."""
    keep: Literal["cells", "drugs"] = "cells"
    """What is kept by dose and viability: `cells` of that dose and of a viability below the limit; or all doses of the
    `drugs` whose mean viability at that dose is below it."""
    min_class_size: int = Field(100, ge=2)
    """Classes with fewer cells are left out (the paper leaves out those `with low numbers`, and does not say how low),
    as are those with fewer drugs than there are folds."""
    folds: int = Field(2, ge=2)
    """Folds of a repeat (paper: 2)."""
    repeats: int = Field(5, ge=1)
    """Repeats (paper: 5)."""
    neighbours: int = Field(15, ge=5)
    """Nearest neighbours of the graph whose clustering AvgBio compares with the classes."""
    cluster_seeds: int = Field(5, ge=1)
    """Seeds of that clustering over which AvgBio is averaged, as `benchmarks.cluster_seeds`."""

    @model_validator(mode="after")
    def _columns(self) -> "MechanismOfAction":
        if (self.dose_column is None) != (self.dose is None):
            raise ValueError("dose_column and dose belong together: give both or neither")
        if self.keep == "drugs" and self.viability_column is None:
            raise ValueError("keep: drugs needs viability_column")
        return self


SECTION = MechanismOfAction
TITLE = "Mechanism of action"
METRICS = (
    Metric("auc", "AUC", "Area under the ROC curve, one class against the rest, mean over classes.", headline=True),
    Metric("recall", "Recall", "Share of a class' cells that are found, mean over classes."),
    Metric("f1", "F1", "F1, mean over classes."),
    Metric("avg_bio", "AvgBio", "Mean of NMI, ARI and ASW of the classes.", headline=True),
    Metric("nmi", "NMI", "Normalised mutual information of the classes and a clustering."),
    Metric("ari", "ARI", "Adjusted Rand index of the classes and a clustering."),
    Metric("asw_label", "ASW", "Silhouette width of the classes, scaled to 0 to 1."),
)

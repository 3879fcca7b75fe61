"""Config of the benchmark mechanism_of_action."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from wced.config.benchmarks.base import Task


class MechanismOfAction(Task):
    """A drug's mechanism of action, told from cells treated with drugs that the classifier never saw (Sci-Plex).

    The columns are those of the dataset's obs; `extra_obs` of its row in the table of datasets brings them there.
    """

    mem_mb: ClassVar[int] = 8000

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
    """What is kept where dose and viability say so: `cells` of that dose and of a viability below the limit; or all
    doses of the `drugs` whose mean viability at that dose is below it."""
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
            raise ValueError("dose_column and dose are given together")
        if self.keep == "drugs" and self.viability_column is None:
            raise ValueError("keep: drugs needs viability_column")
        return self

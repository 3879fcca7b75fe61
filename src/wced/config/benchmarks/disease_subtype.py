"""Config of the benchmark disease_subtype."""

from typing import ClassVar

from pydantic import Field, model_validator

from wced.config.base import Section
from wced.config.benchmarks.base import Input, Task


class Subtype(Section):
    """A state of one cell type that a disease brings about, and the markers that tell it.

    The defaults are the paper's disease-associated astrocytes (DAA) of Alzheimer's disease (section 11).
    """

    cell_type: str = "CL:0000127"
    """Cell Ontology id; cells of this type and of its descendants are clustered."""
    disease_column: str = "disease"
    """Column of obs that tells cases from controls."""
    cases: list[str] = Field(["Alzheimer disease"], min_length=1)
    """Its values in cases."""
    controls: list[str] = Field(["normal"], min_length=1)
    """Its values in controls; cells of other values are left out and counted."""
    donor_column: str = "donor_id"
    """Column of obs with the donor, whose cells are no independent samples."""
    up: list[str] = ["GFAP", "CD44", "HSPB1", "TNC"]
    """Markers that the subtype expresses more; symbols or Ensembl ids."""
    down: list[str] = ["SLC1A2", "SLC1A3", "GLUL", "NRXN1", "CADM2", "PTN", "GPC5"]
    """Markers that it expresses less."""

    @model_validator(mode="after")
    def _two_sides(self) -> "Subtype":
        if shared := sorted({*self.cases} & {*self.controls}):
            raise ValueError(f"{shared[0]} is among cases and controls")
        if shared := sorted({*self.up} & {*self.down}):
            raise ValueError(f"{shared[0]} is among up and down")
        if not self.up and not self.down:
            raise ValueError("a signature has markers: up and down are empty")
        return self


class DiseaseSubtype(Task):
    """Whether one cell type falls apart in the embedding into a cluster that carries a disease's marker signature."""

    needs: ClassVar[tuple[Input, ...]] = ("source",)
    mem_mb: ClassVar[int] = 8000

    datasets: list[str]
    """Datasets with cells of both kinds."""
    subtype: Subtype = Subtype()
    """What is looked for."""
    subtype_of: dict[str, Subtype] = {}
    """The same for single datasets."""
    resolution: float = Field(0.8, gt=0)
    """Resolution of the Leiden clustering (modularity); more gives more clusters."""
    neighbours: int = Field(15, ge=5)
    """Nearest neighbours, the cell itself among them, of the graph that is clustered."""

    def of(self, dataset: str) -> Subtype:
        """Return what is looked for in a dataset."""
        return self.subtype_of.get(dataset, self.subtype)

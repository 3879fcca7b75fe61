"""Disease subtype: whether one cell type has a cluster in the embedding that carries a disease's marker signature."""

from pydantic import Field, model_validator

from wced.benchmarks.task import Metric, Task
from wced.config.base import Section


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
        for one, other in (("cases", "controls"), ("up", "down")):
            if shared := sorted({*getattr(self, one)} & {*getattr(self, other)}):
                raise ValueError(f"{shared[0]} is in both {one} and {other}")
        if not self.up and not self.down:
            raise ValueError("a signature has markers: up and down are empty")
        return self


class DiseaseSubtype(Task):
    """Whether one cell type falls apart in the embedding into a cluster that carries a disease's marker signature."""

    needs = ("source",)
    mem_mb = 8000

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


SECTION = DiseaseSubtype
TITLE = "Disease subtype"
METRICS = (
    Metric("signature", "Signature", "Highest mean marker signature of a cluster, in sd.", headline=True),
    Metric("explained", "η²", "Share of the signature's variance that lies between clusters.", headline=True),
    Metric("odds_ratio", "Odds ratio", "Odds of being in that cluster, cases over controls.", headline=True),
    Metric("q_cells", "q, cells", "Fisher's exact test, corrected over clusters.", ranks=False, higher_is_better=False),
    Metric("q_donors", "q, donors", "The same by permuted donors.", ranks=False, higher_is_better=False),
    Metric("case_share", "Cases", "Share of its cells that are cases'.", ranks=False),
    Metric("share_of_cases", "Of cases", "Share of the cases' cells that are in it.", ranks=False),
    Metric("clusters", "Clusters", "Clusters of the cell type.", ranks=False),
)

"""Ontology structure: whether an embedding puts cell types near each other as the Cell Ontology does."""

from pydantic import Field

from wced.benchmarks.task import Metric, Task


class OntologyStructure(Task):
    """Whether an embedding puts cell types as the Cell Ontology does: scGraph-OntoRWR and the roughness index."""

    datasets: list[str]
    """Datasets whose cell types are Cell Ontology terms."""
    restart: float = Field(0.7, gt=0, lt=1)
    """Probability that the random walk on the ontology returns to its start in a step (scFM-Bench: 0.7)."""
    min_cells: int = Field(10, ge=1)
    """Cell types with fewer cells have no centre and are left out of scGraph-OntoRWR (scFM-Bench: 10)."""
    rogi_cells: int = Field(2000, ge=2)
    """Most cells whose roughness is measured, a random sample; memory and time grow with their square."""


SECTION = OntologyStructure
TITLE = "Agreement of the embedding with the Cell Ontology"
METRICS = (
    Metric(
        "scgraph_ontorwr",
        "OntoRWR",
        "OntoRWR (scGraph-OntoRWR): correlation of distances between the centres of cell types with those in the Cell "
        "Ontology by a random walk with restart, mean over cell types; Pearson's, and by ranks Spearman's.",
        headline=True,
    ),
    Metric("scgraph_ontorwr_rank", "OntoRWR, ranks"),
    Metric(
        "rogi_xd_label",
        "ROGI-XD",
        "ROGI and ROGI-XD: roughness, how much of the cell types is lost when near cells are taken as one, from 0 "
        "(smooth) to 1; only ROGI-XD compares embeddings of different width.",
        headline=True,
        higher_is_better=False,
    ),
    Metric(
        "rogi_xd_ontology",
        "ROGI-XD, ontology",
        "ROGI-XD, ontology: the same where taking types near in the ontology as one costs less.",
        higher_is_better=False,
    ),
    Metric("rogi_label", "ROGI", higher_is_better=False),
)

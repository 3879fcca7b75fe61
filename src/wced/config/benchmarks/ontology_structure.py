"""Config of the benchmark ontology_structure."""

from pydantic import Field

from wced.config.benchmarks.base import Task


class OntologyStructure(Task):
    """Whether an embedding puts cell types as the Cell Ontology does: scGraph-OntoRWR and the roughness index."""

    datasets: list[str]
    """Datasets whose cell types are Cell Ontology terms."""
    restart: float = Field(0.7, gt=0, lt=1)
    """Probability that the random walk on the ontology returns to its start in a step (scFM-Bench: 0.7)."""
    min_cells: int = Field(10, ge=1)
    """Cell types with fewer cells have no centre and are left out of scGraph-OntoRWR (scFM-Bench: 10)."""
    rogi_cells: int = Field(2000, ge=2)
    """Most cells whose roughness is measured, drawn at random; memory and time grow with their square."""

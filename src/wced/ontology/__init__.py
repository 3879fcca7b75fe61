"""The Cell Ontology, the part of it that a corpus uses, and readable names of ontology terms. Works offline."""

from wced.ontology.cell_ontology import CellOntology, load
from wced.ontology.cut import OntologyCut, cut
from wced.ontology.labels import label_of

__all__ = ["CellOntology", "OntologyCut", "cut", "label_of", "load"]

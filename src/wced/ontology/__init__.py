"""The Cell Ontology, the part of it that a corpus uses, and readable names of ontology terms. Works offline.

::

    cellxgene-ontology-guide ──► labels: names of terms, current terms for deprecated ones
                             └─► cell_ontology: the whole graph ──► cut: its part for the labels of a corpus,
                                                                    and decoding of leaf logits at any level
"""

from wced.ontology.cell_ontology import CellOntology, load
from wced.ontology.cut import OntologyCut, cut
from wced.ontology.labels import label_of

__all__ = ["CellOntology", "OntologyCut", "cut", "label_of", "load"]

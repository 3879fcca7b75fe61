"""Human genes: one table from GENCODE and HGNC, and the way from any gene name to an Ensembl id."""

from wced.genes.names import GeneNames, gene_names, what_names_are, without_version
from wced.genes.table import build, read, write

__all__ = ["GeneNames", "build", "gene_names", "read", "what_names_are", "without_version", "write"]

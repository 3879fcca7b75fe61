"""Human genes, and the ways from names of genes to their Ensembl ids.

::

    GENCODE, HGNC ───► table ─────► gene table ──► names: Ensembl id of each current, previous or alias symbol
    Ensembl BioMart ─► orthologs: human gene of each gene of another species
    own files ───────► table.gene_group, embeddings: groups and vectors of genes
    databases ───────► annotation: family and program of each gene
"""

from wced.genes.names import GeneNames, gene_names, what_names_are, without_version
from wced.genes.table import build, read, write

__all__ = ["GeneNames", "build", "gene_names", "read", "what_names_are", "without_version", "write"]

"""The Gene Ontology: its graph, which genes are annotated with what, and the genes of a term and its descendants."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.files import existing
from wced.genes.annotation.references import Universe, gene_ids
from wced.tables import read_text

GAF_SYMBOL, GAF_QUALIFIER, GAF_TERM, GAF_EVIDENCE = 2, 3, 4, 6
"""Columns of a gene annotation file, format 2.2, from 0."""


def read_obo(path: str | Path, what: str) -> Iterator[tuple[str, str, str]]:
    """Give term, tag and value of each line of an OBO file's header, of which the term is empty, and of its terms."""
    term, inside = "", True
    try:
        with existing(path, what).open(encoding="utf-8") as lines:
            for line in lines:
                tag, _, value = line.strip().partition(": ")
                if line.startswith("["):
                    inside = line.startswith("[Term]")
                elif inside and value:
                    term = value if tag == "id" else term
                    yield term, tag, value
    except UnicodeDecodeError as failure:
        raise WcedError(f"{path}: cannot be read as {what}: {failure}") from None


@dataclass(frozen=True)
class Graph:
    """The terms that are not obsolete, and how they descend from each other."""

    children: dict[str, list[str]]
    """Direct children of each term."""
    current: dict[str, str]
    """Id of the term that an alternative id stands for."""
    version: str
    """Release, as the file says."""

    def below(self, term: str) -> set[str]:
        """Return `term` and the terms that descend from it; WcedError for an unknown term."""
        if term not in self.children:
            raise WcedError(f"GO {self.version} has no term {term}, or it is obsolete")
        below, waiting = {term}, [term]
        while waiting:
            new = set(self.children[waiting.pop()]) - below
            below |= new
            waiting += new
        return below


def read_graph(path: str | Path, relations: Sequence[str] = ("is_a",)) -> Graph:
    """Read the Gene Ontology (OBO); `relations`, of `is_a` and `part_of`, make a term a child of another.

    WcedError if the file is missing, or holds no terms.
    """
    terms, obsolete, links, others, version = [], set(), [], {}, "of unknown release"
    for term, tag, value in read_obo(path, "the Gene Ontology (OBO)"):
        if tag == "data-version":
            version = value
        elif tag == "id":
            terms.append(term)
        elif tag == "alt_id":
            others[value] = term
        elif tag == "is_obsolete" and value == "true":
            obsolete.add(term)
        elif tag in ("is_a", "relationship"):
            relation, _, parent = (value if tag == "relationship" else f"is_a {value}").partition(" ")
            if relation in relations:
                links.append((parent[:10], term))  # an id, such as GO:0000001, stands before a comment
    children = {term: [] for term in terms if term not in obsolete}
    if not children:
        raise WcedError(f"{path}: holds no terms; expected the Gene Ontology (OBO)")
    for parent, child in links:
        if parent in children and child in children:
            children[parent].append(child)
    return Graph(children, others, version)


def read_annotation(path: str | Path, evidence: Sequence[str] = ()) -> pd.DataFrame:
    """Return which genes (symbols) are annotated with which terms directly: columns gene and term, each pair once.

    A file with `.gaf` in its name is a GAF file, of which annotations with NOT, or without one of some evidence codes,
    are left out; any other is TSV with the columns `gene` and `GO`. WcedError for another form.
    """
    what = "annotations of genes with GO terms"
    gaf = ".gaf" in existing(path, what).suffixes
    if evidence and not gaf:
        raise WcedError(f"{path}: states no evidence codes, but annotation.evidence asks for {', '.join(evidence)}")
    if gaf:
        columns = [GAF_SYMBOL, GAF_QUALIFIER, GAF_TERM, GAF_EVIDENCE]
        frame = read_text(path, what, comment="!", header=None, usecols=columns, quoting=csv.QUOTE_NONE)
        frame = frame[~frame[GAF_QUALIFIER].str.contains("NOT", regex=False)]
        frame = frame[frame[GAF_EVIDENCE].isin(evidence)] if evidence else frame
        frame = frame[[GAF_SYMBOL, GAF_TERM]].set_axis(["gene", "term"], axis=1)
    else:
        frame = read_text(path, what, usecols=["gene", "GO"])[["gene", "GO"]].set_axis(["gene", "term"], axis=1)
    if frame.empty:
        raise WcedError(f"{path}: holds no annotation" + (f" with evidence {', '.join(evidence)}" if evidence else ""))
    return frame.drop_duplicates(ignore_index=True)


@dataclass(frozen=True)
class GeneOntology:
    """Genes of a universe and the terms that they are annotated with."""

    graph: Graph
    """The terms."""
    genes: int
    """Number of genes."""
    gene_p: np.ndarray
    """Index of the gene in each pair of a gene and a term with which it is annotated directly."""
    pairs_of: dict[str, np.ndarray]
    """Indices of the pairs of each term."""
    terms_unknown: int
    """Annotations with a term that the graph lacks."""

    def has(self, term: str) -> np.ndarray:
        """Return which genes are annotated with `term` or a descendant, bool (genes,)."""
        has_g = np.zeros(self.genes, bool)
        for below in self.graph.below(term) & self.pairs_of.keys():
            has_g[self.gene_p[self.pairs_of[below]]] = True
        return has_g


def gene_ontology(graph: Graph, pairs: pd.DataFrame, universe: Sequence[str]) -> GeneOntology:
    """Return the annotation of genes (Ensembl ids) from pairs of gene_id and term, without pairs of other genes."""
    # An alternative id stands for the term it was merged into.
    term = pairs["term"].map(graph.current).fillna(pairs["term"])
    pairs = pd.DataFrame({"gene": pd.Index(universe).get_indexer(pairs["gene_id"]), "term": term})
    pairs = pairs[pairs["gene"] >= 0]
    known = pairs["term"].isin(graph.children)
    pairs = pairs[known].drop_duplicates()
    return GeneOntology(graph, len(universe), pairs["gene"].to_numpy(), pairs.groupby("term").indices, (~known).sum())


def ontology(universe: Universe) -> GeneOntology:
    """Read the Gene Ontology and its annotation of the genes."""
    settings = universe.settings
    graph, facts = universe.read("go_graph", lambda path: read_graph(path, settings.go_relations))
    facts["version"] += f", {graph.version}"
    universe.note("family", "Gene Ontology graph", f"descendants by {' and '.join(settings.go_relations)}", **facts)
    pairs, facts = universe.read("go_annotation", lambda path: read_annotation(path, settings.evidence))
    words = pd.unique(pairs["gene"])
    id_of_word = pd.Series(gene_ids(words, universe.names), index=words)
    terms = gene_ontology(graph, pairs.assign(gene_id=pairs["gene"].map(id_of_word)), universe.gene_id)
    text = f"{', '.join(settings.evidence) or 'all'} evidence codes; {len(terms.gene_p)} of {len(pairs)} pairs of a "
    text += "gene and a term are of protein-coding genes and terms of the graph; "
    text += f"{terms.terms_unknown} name no term of it"
    facts |= {"names": len(words), "names_unmapped": (id_of_word == "").sum()}
    annotated_g = np.isin(np.arange(terms.genes), terms.gene_p)
    universe.note("family", "Gene Ontology annotation", text, genes=annotated_g, **facts)
    return terms

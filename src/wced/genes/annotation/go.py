"""The Gene Ontology: its graph, which genes are annotated with what, and the genes of a term and its descendants."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order

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

    term_t: pd.Index
    """Ids of the terms."""
    child_tt: sparse.csr_array
    """Where the term of the column is a child of the term of the row."""
    current: pd.Series
    """Id of the term that an alternative id stands for, indexed by the alternative id."""
    version: str
    """Release, as the file says."""

    def below(self, term: str) -> np.ndarray:
        """Return which terms are `term` or descend from it, bool (terms,); WcedError for an unknown term."""
        if term not in self.term_t:
            raise WcedError(f"GO {self.version} has no term {term}, or it is obsolete")
        below_t = np.zeros(len(self.term_t), dtype=bool)
        below_t[breadth_first_order(self.child_tt, self.term_t.get_loc(term), return_predecessors=False)] = True
        return below_t


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
    term_t = pd.Index([term for term in terms if term not in obsolete])
    if term_t.empty:
        raise WcedError(f"{path}: holds no terms; expected the Gene Ontology (OBO)")
    parent, child = (term_t.get_indexer([link[side] for link in links]) for side in (0, 1))
    known = (parent >= 0) & (child >= 0)
    edges = np.ones(known.sum(), dtype=np.int8), (parent[known], child[known])
    child_tt = sparse.csr_array(edges, shape=(len(term_t), len(term_t)))
    return Graph(term_t, child_tt, pd.Series(others, dtype=object), version)


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
    annotated_gt: sparse.csr_array
    """1 where a gene is annotated with a term directly; genes in the order of the universe."""
    terms_unknown: int
    """Annotations with a term that the graph lacks."""

    def has(self, term: str) -> np.ndarray:
        """Return which genes are annotated with `term` or a descendant, bool (genes,)."""
        return self.annotated_gt @ self.graph.below(term).astype(np.int32) > 0


def gene_ontology(graph: Graph, pairs: pd.DataFrame, universe: Sequence[str]) -> GeneOntology:
    """Return the annotation of genes (Ensembl ids) from pairs of gene_id and term, without pairs of other genes."""
    gene = pd.Index(universe).get_indexer(pairs["gene_id"])
    # An alternative id stands for the term it was merged into.
    term = graph.term_t.get_indexer(pairs["term"].map(graph.current).fillna(pairs["term"]))
    known = (gene >= 0) & (term >= 0)
    annotated = np.ones(known.sum(), dtype=np.int32), (gene[known], term[known])
    annotated_gt = sparse.csr_array(annotated, shape=(len(universe), len(graph.term_t)))
    annotated_gt.data[:] = 1
    return GeneOntology(graph, annotated_gt, int(((gene >= 0) & (term < 0)).sum()))


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
    universe.note(
        "family",
        "Gene Ontology annotation",
        f"{', '.join(settings.evidence) or 'all'} evidence codes; {terms.annotated_gt.nnz} of {len(pairs)} pairs of a "
        f"gene and a term are of protein-coding genes and terms of the graph; {terms.terms_unknown} name no term of it",
        genes=terms.annotated_gt.sum(axis=1) > 0,
        names=len(words),
        names_unmapped=(id_of_word == "").sum(),
        **facts,
    )
    return terms

"""The Gene Ontology: its graph, which genes are annotated with what, and the genes of a term and its descendants."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order

from wced.errors import WcedError
from wced.files import existing
from wced.tables import read_text

GAF_SYMBOL, GAF_QUALIFIER, GAF_TERM, GAF_EVIDENCE = 2, 3, 4, 6
"""Columns of a gene annotation file, format 2.2, from 0."""


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
    """Read the Gene Ontology.

    Parameters
    ----------
    path
        OBO file.
    relations
        Which of `is_a` and `part_of` make a term the child of another.

    Raises
    ------
    WcedError
        If the file is missing, or holds no terms.
    """
    starts = {"is_a": "is_a: ", "part_of": "relationship: part_of "}
    starts = tuple(starts[relation] for relation in relations)
    terms, obsolete, version = [], set(), "of unknown release"
    links: list[tuple[str, str]] = []
    others: dict[str, str] = {}
    inside, term = False, ""
    with existing(path, "the Gene Ontology (OBO)").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("["):
                inside = line.startswith("[Term]")
            elif line.startswith("data-version: "):
                version = line[14:].strip()
            elif not inside:
                continue
            elif line.startswith("id: "):
                term = line[4:].strip()
                terms.append(term)
            elif line.startswith("alt_id: "):
                others[line[8:].strip()] = term
            elif line.startswith("is_obsolete: true"):
                obsolete.add(term)
            elif line.startswith(starts):
                links.append((line.partition("GO:")[2][:7], term))
    term_t = pd.Index([term for term in terms if term not in obsolete])
    if term_t.empty:
        raise WcedError(f"{path}: holds no terms; expected the Gene Ontology (OBO)")
    parent, child = (term_t.get_indexer(side) for side in ([f"GO:{p}" for p, _ in links], [c for _, c in links]))
    there = (parent >= 0) & (child >= 0)
    child_tt = sparse.csr_array(
        (np.ones(there.sum(), dtype=np.int8), (parent[there], child[there])), shape=(len(term_t), len(term_t))
    )
    return Graph(term_t, child_tt, pd.Series(others, dtype=object), version)


def read_annotation(path: str | Path, evidence: Sequence[str] = ()) -> pd.DataFrame:
    """Read which genes are annotated with which terms directly.

    Parameters
    ----------
    path
        A GAF file, possibly gzipped, if its name has `.gaf`; otherwise TSV with the columns `gene` and `GO`.
    evidence
        Evidence codes of the annotations that count; empty for all.

    Returns
    -------
    pd.DataFrame
        Columns gene (symbol) and term, each pair once. What a GAF file says that a gene is not (NOT) is left out.

    Raises
    ------
    WcedError
        If the file is of another form, or evidence codes are asked of one that states none.
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
        frame = read_text(path, what, usecols=["gene", "GO"]).rename(columns={"GO": "term"})[["gene", "term"]]
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


def gene_ontology(graph: Graph, pairs: pd.DataFrame, gene_ids: Sequence[str]) -> GeneOntology:
    """Bring annotations to a universe of genes.

    Parameters
    ----------
    graph
        What `read_graph` returns.
    pairs
        Columns gene_id and term; pairs of genes outside the universe are left out.
    gene_ids
        Ensembl ids of the universe, each once.
    """
    gene = pd.Index(gene_ids).get_indexer(pairs["gene_id"])
    pairs, gene = pairs[gene >= 0], gene[gene >= 0]
    # An alternative id stands for the term it was merged into.
    term = graph.term_t.get_indexer(pairs["term"].map(graph.current).fillna(pairs["term"]))
    known = term >= 0
    ones = np.ones(known.sum(), dtype=np.int32)
    shape = (len(gene_ids), len(graph.term_t))
    annotated_gt = sparse.csr_array((ones, (gene[known], term[known])), shape=shape)
    annotated_gt.data[:] = 1
    return GeneOntology(graph, annotated_gt, int((~known).sum()))

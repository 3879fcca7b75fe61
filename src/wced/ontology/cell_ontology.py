"""The Cell Ontology (CL) as a graph of is_a links, from the copy in cellxgene-ontology-guide."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import TopologicalSorter
from math import inf

from wced.errors import WcedError
from wced.ontology.labels import current, schema

ROOT = "CL:0000000"
"""The term `cell`, an ancestor of every current term."""


@dataclass(frozen=True)
class CellOntology:
    """Terms, names and is_a links of one release of the Cell Ontology; obsolete terms are kept apart.

    Whatever starts from a term raises WcedError if that is not a current one.
    """

    version: str
    """Release, e.g. v2026-03-26."""
    labels: Mapping[str, str]
    """Name of each current term."""
    parents: Mapping[str, tuple[str, ...]]
    """Direct is_a parents of each current term, sorted; none for the root."""
    replacements: Mapping[str, str]
    """The current term that stands in for an obsolete one (`wced.ontology.labels.current`), where it is in CL."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Current terms, sorted."""
        return tuple(sorted(self.labels))

    @cached_property
    def children(self) -> dict[str, tuple[str, ...]]:
        """Direct is_a children of each current term, sorted."""
        children: dict[str, list[str]] = {term: [] for term in self.terms}
        for term in self.terms:
            for parent in self.parents[term]:
                children[parent].append(term)
        return {term: tuple(below) for term, below in children.items()}

    @cached_property
    def depths(self) -> dict[str, int]:
        """Depth of each current term: links of the longest is_a path from the root, so that a parent is less deep."""
        depths: dict[str, int] = {}
        for term in TopologicalSorter(self.parents).static_order():  # parents first
            depths[term] = 1 + max((depths[parent] for parent in self.parents[term]), default=-1)
        return depths

    def current(self, term: str) -> str | None:
        """Return `term`, or what replaces it if it is obsolete; None if CL has neither."""
        term = self.replacements.get(term, term)
        return term if term in self.labels else None

    def ancestors(self, term: str) -> frozenset[str]:
        """Return the terms of which `term` is a kind, itself included."""
        return frozenset(self._steps(term, self.parents))

    def descendants(self, term: str) -> frozenset[str]:
        """Return the terms that are a kind of `term`, itself included."""
        return frozenset(self._steps(term, self.children))

    def steps_up(self, term: str) -> dict[str, int]:
        """Return the fewest is_a links from `term` to each of its ancestors; 0 to itself."""
        return self._steps(term, self.parents)

    def near(self, term: str, most: int) -> frozenset[str]:
        """Return the terms that are at most so many is_a links from `term`, up or down, itself included."""
        return frozenset(self._steps(term, self.parents, self.children, most=most))

    def _steps(self, term: str, *links: Mapping[str, tuple[str, ...]], most: float = inf) -> dict[str, int]:
        """Return the fewest links from a term to each that is `most` links away or less."""
        if term not in self.labels:
            raise WcedError(f"{term}: not a current term of the Cell Ontology {self.version}")
        steps: dict[str, int] = {}
        level, reached = 0, {term}
        while reached and level <= most:
            steps |= dict.fromkeys(reached, level)
            reached = {other for at in reached for ways in links for other in ways[at]} - steps.keys()
            level += 1
        return steps


@cache
def load() -> CellOntology:
    """Return the newest Cell Ontology of the installed cellxgene-ontology-guide; read once in a process."""
    records = schema().ontology("CL")
    # The package gives each ancestor with the length of the shortest path to it, so parents are those at distance 1.
    parents = {
        term: tuple(sorted(other for other, distance in record["ancestors"].items() if distance == 1))
        for term, record in records.items()
        if not record["deprecated"]
    }
    # CL also names some parts of cells (kinds of cytoplasm and nucleus); they are no cells and have no parent in CL.
    parents = {term: above for term, above in parents.items() if above or term == ROOT}
    replacements = {term: current(term) for term, record in records.items() if record["deprecated"]}
    return CellOntology(
        version=schema().supported_ontologies["CL"]["version"],
        labels={term: records[term]["label"] for term in parents},
        parents=parents,
        replacements={term: other for term, other in replacements.items() if other in parents},
    )

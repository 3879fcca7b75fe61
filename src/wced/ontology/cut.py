"""The part of the Cell Ontology that a corpus uses, and reading leaf logits at any level of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wced.errors import WcedError
from wced.files import existing
from wced.ontology.cell_ontology import CellOntology


@dataclass(frozen=True)
class OntologyCut:
    """A directed acyclic graph of the terms of a corpus and all their ancestors.

    T is the number of terms and L the number of leaves. A term of the corpus that has a descendant in the corpus is
    internal: its probability is the sum of those of the leaves below it (BMFM-RNA paper, section 4.2.1).
    """

    terms: tuple[str, ...]
    """Cell Ontology ids, sorted."""
    labels: tuple[str, ...]
    """Name of each term."""
    parents: tuple[tuple[int, ...], ...]
    """Indices of the direct parents of each term; empty for the root."""

    def __post_init__(self) -> None:
        roots = [term for term, parents in zip(self.terms, self.parents, strict=True) if not parents]
        if len(roots) != 1:
            raise WcedError(f"ontology: expected one root, found {len(roots)}: {', '.join(roots[:5])}")

    @cached_property
    def index(self) -> dict[str, int]:
        """Index of each term."""
        return {term: i for i, term in enumerate(self.terms)}

    @cached_property
    def root(self) -> int:
        """Index of the term that has no parent."""
        return self.parents.index(())

    @cached_property
    def leaves(self) -> np.ndarray:
        """Indices (int64, length L, ascending) of the terms that have no child in the cut."""
        return np.setdiff1d(np.arange(len(self.terms)), [parent for parents in self.parents for parent in parents])

    @cached_property
    def ancestors_tt(self) -> np.ndarray:
        """Boolean T × T: the column's term is an ancestor of, or is, the row's term."""
        ancestors_tt = np.eye(len(self.terms), dtype=bool)
        while True:  # one more level of ancestors in each turn, until nothing is new
            wider = ancestors_tt.copy()
            for term, parents in enumerate(self.parents):
                wider[term] |= ancestors_tt[list(parents)].any(axis=0)
            if (wider == ancestors_tt).all():
                return ancestors_tt
            ancestors_tt = wider

    @cached_property
    def descendant_leaves_tl(self) -> np.ndarray:
        """Boolean T × L: leaf l is a descendant of, or is, term t."""
        return np.ascontiguousarray(self.ancestors_tt[self.leaves].T)

    def node_probabilities(self, leaf_logits_nl: np.ndarray) -> np.ndarray:
        """Return the probability of every term for each cell.

        A softmax over the leaves, summed over the leaves below each term (section 4.2.1, equation 1); the root's is 1.

        Parameters
        ----------
        leaf_logits_nl
            Cells × leaves, in the order of `leaves`.

        Returns
        -------
        np.ndarray
            Cells × terms, float64.
        """
        logits_nl = self._checked(leaf_logits_nl)
        odds_nl = np.exp(logits_nl - logits_nl.max(axis=1, keepdims=True))
        return self.roll_up(odds_nl / odds_nl.sum(axis=1, keepdims=True))

    def roll_up(self, leaf_probabilities_nl: np.ndarray) -> np.ndarray:
        """Return the probability of every term, cells × terms (float64), from those of the leaves, cells × leaves."""
        return self._checked(leaf_probabilities_nl) @ self.descendant_leaves_tl.T.astype(np.float64)

    def leaf_argmax(self, leaf_logits_nl: np.ndarray) -> np.ndarray:
        """Return the term index of each cell's most probable leaf (the paper's decoding unless it says otherwise)."""
        return self.leaves[self._checked(leaf_logits_nl).argmax(axis=1)]

    def greedy(self, leaf_logits_nl: np.ndarray) -> np.ndarray:
        """Return the term index of the leaf that each cell reaches from the root by always taking the best child.

        It favours the subtree that holds most probability, where `leaf_argmax` favours the single best leaf.
        Of equally probable children the one with the smaller id is taken.
        """
        return self.descents(self.node_probabilities(leaf_logits_nl))[:, -1]

    def descents(self, probability_nt: np.ndarray) -> np.ndarray:
        """Return the terms that each cell passes when it always takes its most probable child, from root to leaf.

        Parameters
        ----------
        probability_nt
            Probability of every term, cells × terms, as `node_probabilities` or `roll_up` gives it.

        Returns
        -------
        np.ndarray
            Indices of terms (int64), cells × steps: the root first, the leaf last, and as often as others go on.
        """
        child_tt = np.zeros((len(self.terms), len(self.terms)), dtype=bool)
        for term, parents in enumerate(self.parents):
            child_tt[list(parents), term] = True
        leaf_t = ~child_tt.any(axis=1)
        passed = [np.full(len(probability_nt), self.root)]
        while not leaf_t[passed[-1]].all():
            at_n = passed[-1].copy()
            moving = np.flatnonzero(~leaf_t[at_n])
            at_n[moving] = np.where(child_tt[at_n[moving]], probability_nt[moving], -1.0).argmax(axis=1)
            passed.append(at_n)
        return np.stack(passed, axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict from which `from_json` makes the same cut without the ontology."""
        return {
            "terms": list(self.terms),
            "labels": list(self.labels),
            "parents": [list(parents) for parents in self.parents],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "OntologyCut":
        """Make a cut from the dict that `to_json` gave; raise WcedError if it is not one."""
        try:
            return cls(
                terms=tuple(record["terms"]),
                labels=tuple(record["labels"]),
                parents=tuple(tuple(parents) for parents in record["parents"]),
            )
        except KeyError as missing:
            raise WcedError(f"ontology: key {missing} is missing") from None

    @classmethod
    def read(cls, path: str | Path) -> "OntologyCut":
        """Read the file of what `to_json` gave; raise WcedError naming it if it is not there or something else."""
        text = existing(path, "the ontology of a hierarchical head").read_text()
        try:
            return cls.from_json(json.loads(text))
        except (ValueError, TypeError, WcedError) as failure:
            raise WcedError(f"{path}: not the ontology of a model: {failure}") from None

    def _checked(self, leaf_logits_nl: np.ndarray) -> np.ndarray:
        logits_nl = np.asarray(leaf_logits_nl, dtype=np.float64)
        if logits_nl.ndim != 2 or logits_nl.shape[1] != len(self.leaves):
            raise WcedError(f"leaf values: shape {logits_nl.shape}, expected cells × {len(self.leaves)} leaves")
        return logits_nl


def cut(ontology: CellOntology, terms: Iterable[str]) -> OntologyCut:
    """Cut the Cell Ontology to `terms` and their ancestors; an obsolete term counts as the one that replaces it.

    Raises
    ------
    WcedError
        If there is no term, or one that the ontology does not know.
    """
    kept: set[str] = set()
    for term in sorted(set(terms)):
        current = ontology.current(term)
        if current is None:
            raise WcedError(f"{term}: not in the Cell Ontology {ontology.version}")
        kept |= ontology.ancestors(current)
    if not kept:
        raise WcedError("ontology: there is no cell type to cut it to")
    ordered = tuple(sorted(kept))
    index = {term: i for i, term in enumerate(ordered)}
    return OntologyCut(
        terms=ordered,
        labels=tuple(ontology.labels[term] for term in ordered),
        parents=tuple(tuple(index[parent] for parent in ontology.parents[term]) for term in ordered),
    )

"""The part of the Cell Ontology that a corpus uses, and reading leaf logits at any level of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from wced.errors import WcedError
from wced.files import existing
from wced.ontology.cell_ontology import CellOntology


@dataclass(frozen=True)
class OntologyCut:
    """A directed acyclic graph of the terms of a corpus and all their ancestors.

    It has T terms and L leaves. A term of the corpus with a descendant in the corpus is internal: its probability is
    the sum of those of the leaves below it (BMFM-RNA paper, section 4.2.1). An internal term may also have a *residual
    leaf* of the same id: the term, not further specified. Without it the most probable leaf is never the term itself.
    """

    terms: tuple[str, ...]
    """Cell Ontology ids, sorted."""
    labels: tuple[str, ...]
    """Name of each term."""
    parents: tuple[tuple[int, ...], ...]
    """Indices of the direct parents of each term; empty for the root."""
    residuals: tuple[int, ...] = ()
    """Indices, ascending, of the internal terms with a residual leaf; never the root, which every cell is."""

    def __post_init__(self) -> None:
        roots = [term for term, parents in zip(self.terms, self.parents, strict=True) if not parents]
        if len(roots) != 1:
            raise WcedError(f"ontology: expected one root, not {len(roots)}: {', '.join(roots[:5])}")
        internal = {parent for parents in self.parents for parent in parents} - {self.root}
        if list(self.residuals) != sorted(internal.intersection(self.residuals)):
            raise WcedError("ontology: residual leaves are not of terms below the root that have children, ascending")

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
        """Term (int64, length L) of each leaf: those without a child, then those with a residual, both ascending."""
        internal = [parent for parents in self.parents for parent in parents]
        childless = np.setdiff1d(np.arange(len(self.terms)), internal)
        return np.concatenate([childless, np.array(self.residuals, dtype=np.int64)])

    @cached_property
    def residual_leaf_t(self) -> np.ndarray:
        """Leaf (int64, length T) that is each term's residual; −1 where it has none."""
        leaf_t = np.full(len(self.terms), -1)
        leaf_t[list(self.residuals)] = np.arange(len(self.leaves) - len(self.residuals), len(self.leaves))
        return leaf_t

    @cached_property
    def ancestors_tt(self) -> np.ndarray:
        """Boolean T × T: the column's term is an ancestor of, or is, the row's term."""
        ancestors_tt = np.eye(len(self.terms), dtype=bool)
        for term in TopologicalSorter(dict(enumerate(self.parents))).static_order():  # parents first
            ancestors_tt[term] |= ancestors_tt[list(self.parents[term])].any(axis=0)
        return ancestors_tt

    @cached_property
    def descendant_leaves_tl(self) -> np.ndarray:
        """Boolean T × L: leaf l is a descendant of, or is, term t; a residual leaf is below its term."""
        return np.ascontiguousarray(self.ancestors_tt[self.leaves].T)

    def node_probabilities(self, leaf_logits_nl: np.ndarray) -> np.ndarray:
        """Return the probability of every term, cells × terms (float64), from logits of the leaves, cells × leaves.

        A softmax over the leaves, summed over the leaves below each term (section 4.2.1, equation 1); the root's is 1.
        """
        return self.roll_up(softmax(self._checked(leaf_logits_nl), axis=1))

    def roll_up(self, leaf_probabilities_nl: np.ndarray) -> np.ndarray:
        """Return the probability of every term, cells × terms (float64), from those of the leaves, cells × leaves."""
        return self._checked(leaf_probabilities_nl) @ self.descendant_leaves_tl.T.astype(np.float64)

    def leaf_argmax(self, leaf_logits_nl: np.ndarray) -> np.ndarray:
        """Return the term of each cell's most probable leaf (the paper's decoding unless it says otherwise)."""
        return self.leaves[self._checked(leaf_logits_nl).argmax(axis=1)]

    def greedy(self, leaf_logits_nl: np.ndarray) -> np.ndarray:
        """Return the term at which each cell's `descents` end; that favours the subtree with most probability."""
        return self.descents(softmax(self._checked(leaf_logits_nl), axis=1))[:, -1]

    def descents(self, leaf_probability_nl: np.ndarray) -> np.ndarray:
        """Return the terms that each cell passes when it always takes its most probable child.

        Indices of terms (int64), cells × steps: from the root to a term without a child, or one whose residual leaf is
        more probable than each child; the last is repeated while other cells go on. Ties go to the smaller id.
        """
        leaf_probability_nl = self._checked(leaf_probability_nl)
        probability_nt = self.roll_up(leaf_probability_nl)
        child_tt = np.zeros((len(self.terms), len(self.terms)), dtype=bool)
        for term, parents in enumerate(self.parents):
            child_tt[list(parents), term] = True
        passed = [np.full(len(probability_nt), self.root)]
        moving = np.arange(len(probability_nt))
        while True:
            at_n = passed[-1][moving]
            residual_n = self.residual_leaf_t[at_n]
            child_nt = np.where(child_tt[at_n], probability_nt[moving], -1.0)
            stay_n = np.where(residual_n < 0, 0.0, leaf_probability_nl[moving, residual_n])
            goes_n = child_nt.max(axis=1) >= stay_n  # never from a term without a child
            if not goes_n.any():
                return np.stack(passed, axis=1)
            moving = moving[goes_n]
            passed.append(passed[-1].copy())
            passed[-1][moving] = child_nt[goes_n].argmax(axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict, from which `from_json` makes the same cut."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "OntologyCut":
        """Return the cut of a dict from `to_json`, without `residuals` before format 4; WcedError if it is not one."""
        try:
            return cls(
                terms=tuple(record["terms"]),
                labels=tuple(record["labels"]),
                parents=tuple(map(tuple, record["parents"])),
                residuals=tuple(record.get("residuals", ())),
            )
        except KeyError as missing:
            raise WcedError(f"ontology: key {missing} is missing") from None

    @classmethod
    def read(cls, path: str | Path) -> "OntologyCut":
        """Read a JSON file of `to_json`; WcedError if it is missing or something else."""
        text = existing(path, "the ontology of a hierarchical head").read_text()
        try:
            return cls.from_json(json.loads(text))
        except (ValueError, TypeError, WcedError) as failure:
            raise WcedError(f"{path}: not the ontology of a model: {failure}") from None

    def _checked(self, values_nl: np.ndarray) -> np.ndarray:
        values_nl = np.asarray(values_nl, dtype=np.float64)
        if values_nl.ndim != 2 or values_nl.shape[1] != len(self.leaves):
            raise WcedError(f"leaf values: shape {values_nl.shape}, expected cells × {len(self.leaves)} leaves")
        return values_nl


def cut(ontology: CellOntology, terms: Iterable[str], *, residuals: bool = False) -> OntologyCut:
    """Cut the Cell Ontology to the labels of a corpus and their ancestors.

    An obsolete term counts as the one that replaces it. With `residuals`, those of `terms` that have a child in the cut
    get a residual leaf, but not the root: that a cell is a cell says nothing. WcedError if there is no term, or one
    that the ontology does not know.
    """
    labels = {term: ontology.current(term) for term in sorted(set(terms))}
    for unknown in (term for term, current in labels.items() if current is None):
        raise WcedError(f"{unknown}: not in the Cell Ontology {ontology.version}")
    if not labels:
        raise WcedError("ontology: there is no cell type to cut it to")
    ordered = tuple(sorted(set().union(*map(ontology.ancestors, labels.values()))))
    index = {term: i for i, term in enumerate(ordered)}
    parents = tuple(tuple(index[parent] for parent in ontology.parents[term]) for term in ordered)
    internal = {parent for above in parents for parent in above if parents[parent]}
    return OntologyCut(
        terms=ordered,
        labels=tuple(ontology.labels[term] for term in ordered),
        parents=parents,
        residuals=tuple(sorted(internal & {index[term] for term in labels.values()})) if residuals else (),
    )

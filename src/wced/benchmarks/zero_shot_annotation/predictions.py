"""The cell types that an ontology head predicted, beside the true ones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from wced.benchmarks.job import Job
from wced.benchmarks.labels import current_term
from wced.contracts import CELL_TYPE
from wced.errors import WcedError
from wced.ontology import CellOntology, OntologyCut


@dataclass(frozen=True)
class Predictions:
    """Truth and predictions of all cells of a dataset."""

    ontology: CellOntology
    """The Cell Ontology."""
    cut: OntologyCut
    """The part of it that the model knows."""
    label_n: np.ndarray
    """Label of each cell as the dataset has it."""
    true_n: np.ndarray
    """Current term of each cell; None where the label is not in the Cell Ontology."""
    leaf_n: np.ndarray
    """Most probable leaf of each cell."""
    leaf_probability_nl: np.ndarray | None
    """Probabilities of the leaves, float32; None if the annotation has none."""

    @property
    def scored_n(self) -> np.ndarray:
        """Whether each cell has a truth; bool."""
        return pd.notna(self.true_n)

    @cached_property
    def leaves(self) -> set[str]:
        """The terms that the model predicts."""
        return {self.cut.terms[leaf] for leaf in self.cut.leaves}

    @cached_property
    def descent_ns(self) -> np.ndarray:
        """Terms that greedy decoding passes, cells × steps: indices of the cut, the root first."""
        part = 8192  # cells whose probabilities of all terms are in memory at once
        starts = range(0, len(self.true_n), part)
        paths = [self.cut.descents(self.leaf_probability_nl[start : start + part]) for start in starts]
        steps = max(path_ns.shape[1] for path_ns in paths)
        return np.concatenate([np.pad(path_ns, ((0, 0), (0, steps - path_ns.shape[1])), "edge") for path_ns in paths])


def read_predictions(job: Job, ontology: CellOntology, terms: pd.Series) -> Predictions:
    """Return the predictions of a job with an annotation, whose cells have these current terms.

    Raises WcedError if the annotation is of other cells than the embedding, or does not fit the model's ontology.
    """
    name, table = f"annotation of {job.dataset} by {job.model}", job.annotation
    if not np.array_equal(table["cell"].to_numpy(dtype=str), job.embedding.obs_names.to_numpy(dtype=str)):
        raise WcedError(f"{name}: its cells are not those of the embedding")
    file = job.checkpoint / "ontology.json"
    cut, probability_nl = OntologyCut.read(file), None
    for term in cut.terms:
        current_term(term, ontology, file)
    if "leaf_probabilities" in table:
        probability_nl = np.stack(table["leaf_probabilities"].to_numpy()).astype(np.float32)
        if probability_nl.shape[1] != len(cut.leaves):
            leaves = f"{probability_nl.shape[1]} leaves, but {file} has {len(cut.leaves)}"
            raise WcedError(f"{name}: probabilities of {leaves}")
    label_n, true_n, leaf_n = (
        column.to_numpy(dtype=object)
        for column in (job.embedding.obs[CELL_TYPE].astype(str), terms, table["predicted_term"])
    )
    return Predictions(ontology, cut, label_n, true_n, leaf_n, probability_nl)

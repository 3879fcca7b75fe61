"""Read labels of cells from a checkpoint's label heads."""

import numpy as np
import pandas as pd
from scipy.special import softmax

from wced.checkpoint import Checkpoint
from wced.embedding.inference import label_head, label_logits
from wced.embedding.inputs import ModelInput
from wced.errors import WcedError
from wced.ontology.cut import OntologyCut
from wced.ontology.labels import label_of

METHODS = ("leaf_argmax", "greedy")
"""Ways to read a hierarchical head: its most probable leaf, or from the root always the most probable child.

Either may end at a term with children, if it has a residual leaf (`wced.ontology.cut`)."""

ROWS = 8192
"""Cells whose probabilities of all terms are in memory at once."""


def ontology_column(checkpoint: Checkpoint) -> str:
    """Return the label column of the checkpoint's head over the Cell Ontology; raise WcedError if it has none."""
    columns = [head["column"] for head in checkpoint.model.config.label_heads if head["loss"] == "hierarchical"]
    if not columns or checkpoint.ontology is None:
        others = ", ".join(head["column"] for head in checkpoint.model.config.label_heads)
        raise WcedError(f"the checkpoint has no head over the Cell Ontology; its label heads: {others or 'none'}")
    return columns[0]


def annotate(
    cells: ModelInput,
    obs_names: pd.Index,
    checkpoint: Checkpoint,
    *,
    column: str | None = None,
    method: str = "leaf_argmax",
    probabilities: bool = False,
    batch_size: int,
) -> pd.DataFrame:
    """Return the label that a head gives each cell.

    `column` is that of the head, None for that over the Cell Ontology; `method` one of `METHODS`, of which heads
    without a hierarchy have `leaf_argmax` only. `probabilities` asks for the probability of every leaf of a hierarchy.
    WcedError is raised if the checkpoint has no such head, or the head no such method or no leaves.

    Returns
    -------
    pandas.DataFrame
        One row per cell, in their order: `cell`; `predicted_term` (the class), its `probability` (in a hierarchy with
        all that is below it) and `predicted_label` (its name); `lineage` of a hierarchical head: the term and its
        ancestors, the root first, with `;` between; and `leaf_probabilities` if asked for (float32, in the order of the
        checkpoint's `ontology.leaves`). Of a head that predicts a number: `cell` and `predicted_value`.
    """
    head = label_head(checkpoint, ontology_column(checkpoint) if column is None else column)
    if method not in METHODS:
        raise WcedError(f"method: {method} is none of {', '.join(METHODS)}")
    for name, value in (("method greedy", method == "greedy"), ("probabilities", probabilities)):
        if value and head["loss"] != "hierarchical":
            raise WcedError(f"{name}: only for the head over the Cell Ontology; that of {head['column']} is flat")
    logits_nc = label_logits(cells, checkpoint, head["column"], batch_size=batch_size)
    frame = pd.DataFrame({"cell": np.asarray(obs_names)})
    if head["loss"] == "mse":
        return frame.assign(predicted_value=logits_nc[:, 0] * head["std"] + head["mean"])
    if head["loss"] == "hierarchical":
        cut = checkpoint.ontology
        term_n, probability_n = hierarchical(cut, logits_nc, method)
        names, labels, lineages = np.array(cut.terms), np.array(cut.labels), np.array(lineage_of_terms(cut))
        frame = frame.assign(
            predicted_term=names[term_n], probability=probability_n, predicted_label=labels[term_n],
            lineage=lineages[term_n],
        )  # fmt: skip
        return frame.assign(leaf_probabilities=list(softmax(logits_nc, axis=1))) if probabilities else frame
    classes, class_n = checkpoint.labels.classes[head["column"]], logits_nc.argmax(axis=1)
    labels = np.array([label_of(term) or term for term in classes])
    return frame.assign(
        predicted_term=np.array(classes)[class_n],
        probability=softmax(logits_nc.astype(np.float64), axis=1).max(axis=1),
        predicted_label=labels[class_n],
    )


def hierarchical(cut: OntologyCut, logits_nl: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each cell's term and its probability, from logits of the leaves; cells × leaves."""
    terms, probabilities = [np.empty(0, np.int64)], [np.empty(0)]
    for start in range(0, len(logits_nl), ROWS):
        part_nl = logits_nl[start : start + ROWS]
        terms.append(getattr(cut, method)(part_nl))
        probabilities.append(np.take_along_axis(cut.node_probabilities(part_nl), terms[-1][:, None], axis=1)[:, 0])
    return np.concatenate(terms), np.concatenate(probabilities)


def lineage_of_terms(cut: OntologyCut) -> list[str]:
    """Return the ids of each term and all its ancestors with `;` between, ancestors before their descendants."""
    depth_t = cut.ancestors_tt.sum(axis=1)  # an ancestor of a term has fewer ancestors than the term
    lineages = []
    for above_t in cut.ancestors_tt:
        terms = np.flatnonzero(above_t)
        lineages.append(";".join(cut.terms[t] for t in terms[np.argsort(depth_t[terms], kind="stable")]))
    return lineages

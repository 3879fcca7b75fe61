"""Zero-shot annotation: how often the ontology head names the cell type, or a kind or parent of it."""

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.benchmarks.scores import CELL_TYPE, Score, known, missing, rows
from wced.errors import WcedError
from wced.ontology import CellOntology, OntologyCut

TASK = "zero_shot_annotation"
ACCURACIES = (
    "accuracy_exact",
    "accuracy_exact_or_descendant",
    "accuracy_exact_or_ancestor",
    "accuracy_lineage",
)
"""The predicted leaf is the true term; or finer; or coarser; or any of these."""
REACHABLE = ("reachable_exact", "reachable_lineage")
"""Share of cells that the model could have got right: a leaf of its ontology is the true term, or a relative of it."""


def score(
    embedding: AnnData,
    *,
    run: str,
    seed: int,
    ontology: CellOntology,
    annotation: pd.DataFrame | None = None,
    cut: OntologyCut | None = None,
) -> pd.DataFrame:
    """Score the cell types that a checkpoint predicted.

    Parameters
    ----------
    embedding
        The model's embedding of the dataset, for its obs and for what it says of the model.
    run
        Name of the run.
    seed
        Seed of the run; nothing is drawn here.
    ontology
        The Cell Ontology, by whose is_a links terms are descendants and ancestors.
    annotation
        One row per cell: `cell`, `predicted_term` (the most probable leaf). None for a model without an ontology head.
    cut
        The part of the ontology that the model knows; given with `annotation`.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES with Wilson 95% intervals. Cells whose cell type is unknown or not in the Cell Ontology
        are left out and counted in `split`.

    Raises
    ------
    WcedError
        If the annotation is of other cells than the embedding, or predicts a term that is not in the Cell Ontology.
    """
    labels = embedding.obs[CELL_TYPE].astype(str)
    current = {term: ontology.current(term) for term in labels.unique()}
    true = labels.map(current)
    scored = true.notna().to_numpy()
    unlabelled, outside = (~known(labels)).sum(), (known(labels) & ~scored).sum()
    if annotation is None or cut is None:
        scores = dict.fromkeys((*ACCURACIES, *REACHABLE), missing("no ontology head"))
    elif not scored.any():
        _check_cells(annotation, embedding)
        scores = dict.fromkeys((*ACCURACIES, *REACHABLE), missing("no cell has a Cell Ontology term"))
    else:
        _check_cells(annotation, embedding)
        scores = _scores(true[scored], annotation.loc[scored, "predicted_term"].astype(str), cut, ontology)
    return rows(
        embedding,
        scores,
        run=run,
        task=TASK,
        protocol=f"most probable leaf of the ontology head; relatives by is_a of Cell Ontology {ontology.version}",
        split=f"all cells but {unlabelled} without a cell type and {outside} whose label is not in the Cell Ontology",
        n=int(scored.sum()),
        seed=seed,
    )


def _check_cells(annotation: pd.DataFrame, embedding: AnnData) -> None:
    if not np.array_equal(annotation["cell"].to_numpy(dtype=str), embedding.obs_names.to_numpy(dtype=str)):
        raise WcedError(
            f"annotation of {embedding.uns['wced']['dataset']} by {embedding.uns['wced']['model']}: its cells are not "
            f"those of the embedding"
        )


def _scores(true: pd.Series, predicted: pd.Series, cut: OntologyCut, ontology: CellOntology) -> dict[str, Score]:
    # Each distinct pair of terms is compared once; the cells only count.
    pairs = pd.DataFrame({"true": true.to_numpy(), "predicted": predicted.to_numpy()}).value_counts().reset_index()
    relation = pd.DataFrame(
        [_relation(row.true, row.predicted, ontology) for row in pairs.itertuples()],
        columns=["exact", "descendant", "ancestor"],
    )
    leaves = {cut.terms[leaf] for leaf in cut.leaves}
    exact_leaf = pairs["true"].isin(leaves)
    related_leaf = pairs["true"].map(
        {
            term: bool(leaves & (ontology.ancestors(term) | ontology.descendants(term)))
            for term in pairs["true"].unique()
        }
    )
    hits = (
        relation["exact"],
        relation["exact"] | relation["descendant"],
        relation["exact"] | relation["ancestor"],
        relation.any(axis=1),
        exact_leaf,
        related_leaf,
    )
    n = int(pairs["count"].sum())
    return {
        metric: _wilson(int(pairs.loc[hit, "count"].sum()), n)
        for metric, hit in zip((*ACCURACIES, *REACHABLE), hits, strict=True)
    }


def _relation(true: str, predicted: str, ontology: CellOntology) -> tuple[bool, bool, bool]:
    term = ontology.current(predicted)
    if term is None:
        raise WcedError(f"annotation: predicted term {predicted} is not in the Cell Ontology {ontology.version}")
    return term == true, true in ontology.ancestors(term), term in ontology.ancestors(true)


def _wilson(hits: int, n: int) -> Score:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, n, alpha=0.05, method="wilson")
    return Score(hits / n, float(low), float(high), "Wilson")

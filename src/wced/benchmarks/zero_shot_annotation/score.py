"""Shares of cells whose predicted type is right, by several readings of right, and distances of the others."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from wced.benchmarks import lcad, matches
from wced.benchmarks.job import Job, rows
from wced.benchmarks.labels import current_terms, left_out
from wced.benchmarks.task import LEAST_DEPTH
from wced.benchmarks.zero_shot_annotation import METRICS
from wced.benchmarks.zero_shot_annotation.figures import write_figures
from wced.benchmarks.zero_shot_annotation.predictions import Predictions, read_predictions
from wced.ontology import CellOntology, load
from wced.stats import Score, missing

HITS = {
    "exact": ("exact",),
    "exact_or_descendant": ("exact", "descendant"),
    "exact_or_ancestor": ("exact", "ancestor"),
    "lineage": ("exact", "descendant", "ancestor"),
}
"""The kinds of pairs (`matches.KINDS`) that count as right where every relative may; see `matches.judged` for what the
truth says."""


def score(job: Job) -> pd.DataFrame:
    """Score the cell types that a checkpoint predicted.

    Beside `METRICS` there are `lcad_up_errors` (see `wced.benchmarks.lcad`) and accuracies at every depth
    (`accuracy_depth_1` …, by greedy decoding `greedy_depth_1` …; see `matches.depth_shares`). Shares of cells have
    Wilson's 95% intervals. Cells whose cell type is unknown or not in the Cell Ontology are left out, counted and named
    in `split`. A model without an ontology head has rows with that reason.

    Raises WcedError if the annotation is of other cells than the embedding, or predicts a term that is not in the Cell
    Ontology.
    """
    ontology = load()
    terms, outside = current_terms(job.embedding, ontology)
    labelled = terms.dropna()
    counts = ", ".join(f"{label}: {cells}" for label, cells in outside.value_counts().sort_index().items())
    predictions = None if job.annotation is None else read_predictions(job, ontology, terms)
    if predictions is None:
        scores = dict.fromkeys(_names(labelled, ontology), missing("no ontology head"))
    elif labelled.empty:
        scores = dict.fromkeys(_names(labelled, ontology), missing("no cell has a Cell Ontology term"))
    else:
        scores = _scores(predictions, job.seed)
        if job.figures is not None:
            write_figures(predictions, scores, job)
    protocol = (
        f"most probable leaf of the ontology head unless greedy; relatives, depths (longest is_a path from the root) "
        f"and LCAD by Cell Ontology {ontology.version}; coarser terms tell something from depth {LEAST_DEPTH} on"
    )
    split = left_out(terms, outside) + (f" ({counts})" if counts else "")
    return rows(job, "zero_shot_annotation", scores, protocol=protocol, split=split, n=len(labelled))


def _names(true_n: Iterable[str], ontology: CellOntology) -> list[str]:
    """Return the metrics of a dataset with these true terms: the deepest of them says how many depths there are."""
    depths = range(1, max((ontology.depths[term] for term in set(true_n)), default=0) + 1)
    by_depth = [f"{decoding}_depth_{depth}" for decoding in ("accuracy", "greedy") for depth in depths]
    return [*(metric.name for metric in METRICS), "lcad_up_errors", *by_depth]


def _scores(predictions: Predictions, seed: int) -> dict[str, Score]:
    scored_n, ontology = predictions.scored_n, predictions.ontology
    true_n, leaf_n = predictions.true_n[scored_n], predictions.leaf_n[scored_n]
    by_leaf = matches.pairs(true_n, leaf_n, ontology)
    scores = _shares(by_leaf, "accuracy", HITS) | matches.judgement_scores(by_leaf, ontology)
    for name in ("exact", "exact_or_descendant"):
        scores[f"macro_{name}"] = matches.macro_share(by_leaf["kind"].isin(HITS[name]), by_leaf, seed)
    scores |= _by_depth(by_leaf, "accuracy", ontology)
    scores |= lcad.scores(true_n, leaf_n, ontology, seed)
    scores |= _reachable(by_leaf, predictions.leaves, ontology)
    if predictions.leaf_probability_nl is None:
        without = missing("the annotation holds no leaf probabilities (wced annotate --probabilities)")
        return scores | {name: without for name in _names(true_n, ontology) if name.startswith("greedy")}
    greedy_n = np.array(predictions.cut.terms, dtype=object)[predictions.descent_ns[scored_n, -1]]
    by_greedy = matches.pairs(true_n, greedy_n, ontology)
    scores |= _shares(by_greedy, "greedy", ("exact", "exact_or_descendant", "lineage"))
    scores["greedy_lineage_known"] = matches.judgement_scores(by_greedy, ontology)["accuracy_lineage_known"]
    return scores | _by_depth(by_greedy, "greedy", ontology)


def _shares(pairs: pd.DataFrame, decoding: str, names: Iterable[str]) -> dict[str, Score]:
    return {f"{decoding}_{name}": matches.share(pairs["kind"].isin(HITS[name]), pairs["cells"]) for name in names}


def _by_depth(pairs: pd.DataFrame, decoding: str, ontology: CellOntology) -> dict[str, Score]:
    return {f"{decoding}_depth_{depth}": share for depth, share in matches.depth_shares(pairs, ontology).items()}


def _reachable(pairs: pd.DataFrame, leaves: set[str], ontology: CellOntology) -> dict[str, Score]:
    """Return the share of cells whose true term is a leaf of the model's ontology, or a relative of one."""
    deep = {leaf for leaf in leaves if ontology.depths[ontology.current(leaf)] >= LEAST_DEPTH}
    above = {term: ontology.ancestors(term) for term in pairs["true"].unique()}
    hits = {
        "exact": lambda term: term in leaves,
        "lineage_known": lambda term: term in leaves or bool(deep & above[term]),
        "lineage": lambda term: bool(leaves & (above[term] | ontology.descendants(term))),
    }
    return {
        f"reachable_{name}": matches.share(pairs["true"].map({term: hit(term) for term in above}), pairs["cells"])
        for name, hit in hits.items()
    }

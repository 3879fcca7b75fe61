"""Zero-shot annotation: how often the ontology head names the cell type, or a kind or parent of it, and how far off."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from wced.benchmarks import lcad, matches
from wced.benchmarks.job import Job, Metric
from wced.benchmarks.scores import CELL_TYPE, known, rows
from wced.errors import WcedError
from wced.ontology import CellOntology, OntologyCut, load
from wced.stats import Score, missing

TITLE = "Zero-shot annotation by the ontology head"
METRICS = (
    Metric("accuracy_exact", "Exact", "Exact: the predicted term is the true one.", headline=True),
    Metric(
        "accuracy_coarser",
        "Coarser",
        f"Coarser: it is an ancestor of it that tells something, {matches.LEAST_DEPTH} links or more below `cell`.",
        ranks=False,
    ),
    Metric(
        "finer_unverified",
        "Finer",
        "Finer: it is a kind of it, which the truth does not tell, so neither right nor wrong.",
        ranks=False,
    ),
    Metric("wrong", "Wrong", "Wrong: none of these; the four add up to 1.", higher_is_better=False),
    Metric("accuracy_lineage_known", "Lineage known", "Lineage known: exact or coarser.", headline=True),
    Metric(
        "accuracy_lineage",
        "Any relative",
        "Any relative: every finer and every coarser term, even `cell`, counts as right too.",
    ),
    Metric("accuracy_exact_or_descendant", "Exact or finer"),
    Metric("accuracy_exact_or_ancestor", "Exact or any coarser"),
    Metric("macro_exact", "Exact, macro", "Macro: mean over cell types, so that rare ones count as much."),
    Metric("macro_exact_or_descendant", "Exact or finer, macro"),
    Metric(
        "greedy_exact",
        "Exact, greedy",
        "Greedy: from the root always the most probable child, instead of the most probable leaf.",
    ),
    Metric("greedy_exact_or_descendant", "Exact or finer, greedy"),
    Metric("greedy_lineage_known", "Lineage known, greedy"),
    Metric("greedy_lineage", "Any relative, greedy"),
    Metric(
        "lcad_errors",
        "LCAD, errors",
        "LCAD: is_a links between true and predicted term over their lowest common ancestor; mean over the cells whose "
        "predicted term is not the true one, and over all cells.",
        higher_is_better=False,
    ),
    Metric("lcad", "LCAD", higher_is_better=False),
    Metric(
        "reachable_exact",
        "Reachable, exact",
        "Reachable: share of cells that the model could have got right, because its corpus held their type (or a "
        "relative) as a finest term.",
        ranks=False,
    ),
    Metric("reachable_lineage_known", "Reachable, lineage known", ranks=False),
    Metric("reachable_lineage", "Reachable, any relative", ranks=False),
)
HITS = {
    "exact": ("exact",),
    "exact_or_descendant": ("exact", "descendant"),
    "exact_or_ancestor": ("exact", "ancestor"),
    "lineage": ("exact", "descendant", "ancestor"),
}
"""The kinds of pairs (`matches.KINDS`) that count as right where every relative may; see `matches.judged` for what the
truth says."""


@dataclass(frozen=True)
class Predictions:
    """Truth and predictions of the cells that can be scored."""

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

    def node_probabilities(self, cells: np.ndarray | slice) -> np.ndarray:
        """Return the probability of every term of the cut for some cells, cells × terms."""
        return self.cut.roll_up(self.leaf_probability_nl[cells])

    @cached_property
    def descent_ns(self) -> np.ndarray:
        """Terms that greedy decoding passes, cells × steps: indices of the cut, the root first."""
        part = 8192  # cells whose probabilities of all terms are in memory at once
        starts = range(0, len(self.true_n), part)
        passed = [self.cut.descents(self.leaf_probability_nl[start : start + part]) for start in starts]
        steps = max(path_ns.shape[1] for path_ns in passed)
        return np.concatenate([np.pad(path_ns, ((0, 0), (0, steps - path_ns.shape[1])), "edge") for path_ns in passed])


def score(job: Job) -> pd.DataFrame:
    """Score the cell types that a checkpoint predicted.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES: those of `METRICS`, `lcad_up_errors` (see `wced.benchmarks.lcad`), and accuracies at
        every depth (`accuracy_depth_1` …, by greedy decoding `greedy_depth_1` …; see `matches.depth_shares`). Shares of
        cells have Wilson's 95% intervals. Cells whose cell type is unknown or not in the Cell Ontology are left out,
        counted and named in `split`. A model without an ontology head has rows with that reason.

    Raises
    ------
    WcedError
        If the annotation is of other cells than the embedding, or predicts a term that is not in the Cell Ontology.
    """
    ontology = load()
    labels = job.embedding.obs[CELL_TYPE].astype(str)
    current = labels.map({term: ontology.current(term) for term in labels.unique()})
    scored = current.notna().to_numpy()
    outside = labels[known(labels) & ~scored].value_counts().sort_index()
    named = f" ({', '.join(f'{label}: {cells}' for label, cells in outside.items())})" if len(outside) else ""
    if job.annotation is None:
        scores = dict.fromkeys(_names(current[scored], ontology), missing("no ontology head"))
    else:
        _check_cells(job)
        found = _predictions(job, ontology, labels, current)
        if scored.any():
            scores = _scores(found, job.seed)
        else:
            scores = dict.fromkeys(_names(current[scored], ontology), missing("no cell has a Cell Ontology term"))
        if job.figures is not None and scored.any():
            from wced.benchmarks import annotation_figures

            annotation_figures.draw(found, scores, job)
    return rows(
        job.embedding,
        scores,
        run=job.run,
        task="zero_shot_annotation",
        protocol=(
            f"most probable leaf of the ontology head unless greedy; relatives, depths (longest is_a path from the "
            f"root) and LCAD by Cell Ontology {ontology.version}; coarser terms tell something from depth "
            f"{matches.LEAST_DEPTH} on"
        ),
        split=(
            f"all cells but {(~known(labels)).sum()} without a cell type and {outside.sum()} whose label is not in the "
            f"Cell Ontology{named}"
        ),
        n=int(scored.sum()),
        seed=job.seed,
    )


def _check_cells(job: Job) -> None:
    if not np.array_equal(job.annotation["cell"].to_numpy(dtype=str), job.embedding.obs_names.to_numpy(dtype=str)):
        raise WcedError(f"annotation of {job.dataset} by {job.model}: its cells are not those of the embedding")


def _predictions(job: Job, ontology: CellOntology, labels: pd.Series, current: pd.Series) -> Predictions:
    file = job.checkpoint / "ontology.json"
    cut, probability_nl = OntologyCut.read(file), None
    for term in cut.terms:
        if ontology.current(term) is None:
            raise WcedError(f"{file}: {term} is not in the Cell Ontology {ontology.version}")
    if "leaf_probabilities" in job.annotation:
        probability_nl = np.stack(job.annotation["leaf_probabilities"].to_numpy()).astype(np.float32)
        if probability_nl.shape[1] != len(cut.leaves):
            raise WcedError(
                f"annotation of {job.dataset} by {job.model}: probabilities of {probability_nl.shape[1]} leaves, but "
                f"{file} has {len(cut.leaves)}"
            )
    return Predictions(
        ontology,
        cut,
        labels.to_numpy(dtype=object),
        current.where(current.notna(), None).to_numpy(dtype=object),
        job.annotation["predicted_term"].to_numpy(dtype=object),
        probability_nl,
    )


def _names(true_n: Iterable[str], ontology: CellOntology) -> list[str]:
    """Return the metrics of a dataset with these true terms: its deepest says how many depths there are."""
    depths = range(1, max((ontology.depths[term] for term in set(true_n)), default=0) + 1)
    by_depth = [f"{decoding}_depth_{depth}" for decoding in ("accuracy", "greedy") for depth in depths]
    return [*(metric.name for metric in METRICS), "lcad_up_errors", *by_depth]


def _scores(found: Predictions, seed: int) -> dict[str, Score]:
    true_n, ontology = found.true_n[found.scored_n], found.ontology
    leaf_n = found.leaf_n[found.scored_n]
    by_leaf = matches.pairs(true_n, leaf_n, ontology)
    scores = {
        f"accuracy_{name}": matches.share(by_leaf["kind"].isin(hit), by_leaf["cells"]) for name, hit in HITS.items()
    }
    scores |= matches.judgement_scores(by_leaf, ontology)
    scores |= {
        f"macro_{name}": matches.macro_share(by_leaf["kind"].isin(HITS[name]), by_leaf, seed)
        for name in ("exact", "exact_or_descendant")
    }
    scores |= {f"accuracy_depth_{depth}": value for depth, value in matches.depth_shares(by_leaf, ontology).items()}
    scores |= lcad.scores(true_n, leaf_n, ontology, seed)
    scores |= _reachable(by_leaf, found.cut, ontology)
    greedy = ("exact", "exact_or_descendant", "lineage")
    if found.leaf_probability_nl is None:
        without = missing("the annotation holds no leaf probabilities (wced annotate --probabilities)")
        return scores | {name: without for name in _names(true_n, ontology) if name.startswith("greedy")}
    greedy_n = np.array(found.cut.terms, dtype=object)[found.descent_ns[found.scored_n, -1]]
    by_greedy = matches.pairs(true_n, greedy_n, ontology)
    scores |= {
        f"greedy_{name}": matches.share(by_greedy["kind"].isin(HITS[name]), by_greedy["cells"]) for name in greedy
    }
    scores["greedy_lineage_known"] = matches.judgement_scores(by_greedy, ontology)["accuracy_lineage_known"]
    return scores | {f"greedy_depth_{depth}": v for depth, v in matches.depth_shares(by_greedy, ontology).items()}


def _reachable(pairs: pd.DataFrame, cut: OntologyCut, ontology: CellOntology) -> dict[str, Score]:
    """Return the share of cells whose true term is a leaf of the model's ontology, or a relative of one."""
    leaves = {cut.terms[leaf] for leaf in cut.leaves}
    telling = {leaf for leaf in leaves if ontology.depths[ontology.current(leaf)] >= matches.LEAST_DEPTH}
    above = {term: ontology.ancestors(term) for term in pairs["true"].unique()}
    hits = {
        "exact": lambda term: term in leaves,
        "lineage_known": lambda term: term in leaves or bool(telling & above[term]),
        "lineage": lambda term: bool(leaves & (above[term] | ontology.descendants(term))),
    }
    return {
        f"reachable_{name}": matches.share(pairs["true"].map({term: hit(term) for term in above}), pairs["cells"])
        for name, hit in hits.items()
    }

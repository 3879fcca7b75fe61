"""Score tables as a reader wants them: models as rows, metrics as columns, the best marked, gaps explained."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    name: str
    """As in the table of scores."""
    title: str
    """Heading of its column."""
    meaning: str = ""
    """One sentence for the caption; of all metrics here, higher is better."""
    headline: bool = False
    """Whether the text says which model is best at it."""
    ranks: bool = True
    """Whether it measures the model, so that the best value is marked."""


TASKS = {
    "zero_shot_integration": (
        "Zero-shot batch integration",
        (
            Metric("nmi", "NMI", "NMI and ARI: agreement of clusters with cell types."),
            Metric("ari", "ARI"),
            Metric("asw_label", "ASW label", "ASW label: how compact cell types are (silhouette, scaled to 0–1)."),
            Metric("avg_bio", "AvgBio", "AvgBio: mean of the three before it.", headline=True),
            Metric(
                "graph_connectivity",
                "Graph conn.",
                "Graph connectivity: share of a cell type's cells in one piece of the neighbour graph.",
            ),
            Metric("asw_batch", "ASW batch", "ASW batch: 1 where batches mix within cell types, 0 where they part."),
            Metric("avg_batch", "AvgBatch", "AvgBatch: mean of the two before it.", headline=True),
            Metric("overall", "Overall", "Overall: 0.6 AvgBio + 0.4 AvgBatch.", headline=True),
        ),
    ),
    "cell_type_classification": (
        "Cell-type classification on frozen embeddings",
        (
            Metric("macro_f1", "F1", "F1: mean over cell types, so that rare ones count as much.", headline=True),
            Metric("macro_f1_lr", "F1, logistic", headline=True),
            Metric("macro_f1_knn", "F1, neighbours"),
            Metric("macro_f1_rf", "F1, forest"),
            Metric("accuracy", "Accuracy", "The columns without a classifier's name are the mean of the three."),
            Metric("accuracy_lr", "Acc., logistic"),
            Metric("accuracy_knn", "Acc., neighbours"),
            Metric("accuracy_rf", "Acc., forest"),
        ),
    ),
    "zero_shot_annotation": (
        "Zero-shot annotation by the ontology head",
        (
            Metric("accuracy_exact", "Exact", "Exact: the predicted term is the true one.", headline=True),
            Metric("accuracy_exact_or_descendant", "or finer", "Finer and coarser: it is a kind or a parent of it."),
            Metric("accuracy_exact_or_ancestor", "or coarser"),
            Metric("accuracy_lineage", "Same lineage", "Same lineage: any of these.", headline=True),
            Metric(
                "reachable_exact",
                "Reachable, exact",
                "Reachable: share of cells that the model could have got right, "
                "because its corpus held their type (or a relative) as a finest term.",
                ranks=False,
            ),
            Metric("reachable_lineage", "Reachable, lineage", ranks=False),
        ),
    ),
}
"""Title and metrics of each task, in the order of the columns."""


@dataclass(frozen=True)
class Cell:
    """One cell of a pivot."""

    value: str
    """The score, three decimals; a dash where there is none."""
    interval: str = ""
    """The 95% interval."""
    best: bool = False
    """Whether no model has a higher value."""
    note: str = ""
    """Letter of the reason why there is no value."""


@dataclass(frozen=True)
class Pivot:
    """One dataset's scores of one task."""

    dataset: str
    """Dataset."""
    metrics: tuple[Metric, ...]
    """Columns."""
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """Model and its cells."""
    notes: tuple[tuple[str, str], ...]
    """Letter and reason."""
    n: int
    """Cells scored."""
    protocol: str
    """How."""
    split: str
    """On which cells."""
    intervals: str
    """How intervals were made."""
    verdicts: tuple[str, ...]
    """What the headline metrics say."""


def pivot(scores: pd.DataFrame, task: str, baselines: Collection[str]) -> Pivot:
    """Return the pivot of one task on one dataset.

    Parameters
    ----------
    scores
        Rows of tables.SCORES of the task and the dataset; models stand in the order of their rows.
    task
        Key of `TASKS`.
    baselines
        Models that are no trained models of ours.
    """
    metrics = TASKS[task][1]
    # Not pivot_table, which would drop a model that has no value at all.
    values = scores.pivot(index="metric", columns="model", values="value")  # noqa: PD010
    reasons = list(dict.fromkeys(scores.loc[scores["reason"] != "", "reason"]))
    letters = {reason: chr(ord("a") + i) for i, reason in enumerate(reasons)}
    by_place = scores.set_index(["model", "metric"])
    models = list(dict.fromkeys(scores["model"]))
    rows = tuple(
        (model, tuple(_cell(by_place.loc[(model, metric.name)], metric, values, letters) for metric in metrics))
        for model in models
    )
    first = scores.iloc[0]
    said = [verdict(values.loc[metric.name, models], metric, baselines) for metric in metrics if metric.headline]
    return Pivot(
        dataset=first["dataset"],
        metrics=metrics,
        rows=rows,
        notes=tuple((letter, reason) for reason, letter in letters.items()),
        n=int(first["n"]),
        protocol=first["protocol"],
        split=first["split"],
        intervals=", ".join(sorted(set(scores["ci_method"]) - {""})),
        verdicts=tuple(text for text in said if text),
    )


def _cell(row: pd.Series, metric: Metric, values: pd.DataFrame, letters: dict[str, str]) -> Cell:
    if row["reason"]:
        return Cell("–", note=letters[row["reason"]])
    interval = "" if np.isnan(row["ci_low"]) else f"{row['ci_low']:.3f}–{row['ci_high']:.3f}"
    return Cell(f"{row['value']:.3f}", interval, best=metric.ranks and row["value"] == values.loc[metric.name].max())


def verdict(values: pd.Series, metric: Metric, baselines: Collection[str]) -> str:
    """Return a sentence that says whether our best model beats the best baseline; empty where nothing was scored.

    Parameters
    ----------
    values
        Score of each model at the metric.
    metric
        The metric; higher is better.
    baselines
        Which of the models are baselines.
    """
    values = values.dropna()
    is_baseline = values.index.isin(list(baselines))
    ours, theirs = values[~is_baseline], values[is_baseline]
    if ours.empty:
        return ""
    said = f"{metric.title}: the best trained model is {ours.idxmax()} ({ours.max():.3f})"
    if theirs.empty:
        return f"{said}; no baseline can be scored."
    gap = ours.max() - theirs.max()
    rival = f"the best baseline, {theirs.idxmax()} ({theirs.max():.3f})"
    if gap > 0:
        return f"{said}, {gap:.3f} above {rival}."
    if gap == 0:
        return f"{said}, level with {rival}."
    return f"{said}, {-gap:.3f} BELOW {rival}."


def model_table(scores: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one row per model: parameters, width, and for each dataset what it may have seen of it."""
    every = pd.concat(scores, ignore_index=True)
    columns = ["model", "n_params", "width", "dataset", "leakage"]
    seen = every[columns].drop_duplicates().groupby(["model", "n_params", "width", "leakage"], sort=False)["dataset"]
    return seen.agg(", ".join).reset_index()[["model", "n_params", "width", "leakage", "dataset"]]


def sampling_steps(sampling: pd.DataFrame) -> pd.DataFrame:
    """Return one row per step of sampling: strata, how many of them it thinned, and cells before and after.

    Parameters
    ----------
    sampling
        Rows of tables.SAMPLING.
    """
    thinned = sampling["cells_taken"] < sampling["cells_there"]
    steps = sampling.assign(thinned=thinned).groupby(["step", "kind", "by"], sort=False)
    made = steps.agg(
        strata=("stratum", "size"),
        strata_thinned=("thinned", "sum"),
        cells_there=("cells_there", "sum"),
        cells_taken=("cells_taken", "sum"),
        largest_taken=("cells_taken", "max"),
    )
    return made.reset_index()

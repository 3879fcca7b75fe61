"""Score tables as a reader wants them: models as rows, metrics as columns, the best marked, gaps explained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from types import MappingProxyType

import numpy as np
import pandas as pd

from wced.benchmarks.task import Metric
from wced.stats import outcome_of


@dataclass(frozen=True)
class Cell:
    """One cell of a pivot."""

    value: str
    """The score, three decimals; a dash where there is none."""
    interval: str = ""
    """The 95% interval."""
    mark: str = ""
    """`best` where no model is better, `tie` where the interval overlaps that of the best, else empty."""
    note: str = ""
    """Letter of the reason why there is no value."""
    number: str = ""
    """The score in full; empty where there is none."""


@dataclass(frozen=True)
class Row:
    """One model's row of a pivot."""

    model: str
    """Name of the model."""
    kind: str
    """`model` (trained here), `baseline`, `external`, or `published` for numbers that were not computed here."""
    cells: tuple[Cell, ...]
    """A cell for each metric."""
    note: str = ""
    """Letters: of what the model may have seen of the cells; of what was published, how it was computed."""


@dataclass(frozen=True)
class Pivot:
    """Scores of one task on one dataset: those of one label, protocol and split."""

    dataset: str
    """Dataset."""
    metrics: tuple[Metric, ...]
    """Columns."""
    rows: tuple[Row, ...]
    """A row for each model, then what was published."""
    notes: tuple[tuple[str, str], ...]
    """Letter and what it says."""
    n: int
    """Cells, or genes, scored."""
    label: str
    """The truth: a column of obs."""
    protocol: str
    """How."""
    split: str
    """On which cells."""
    intervals: str
    """How intervals were made."""
    verdicts: tuple[str, ...]
    """Sentences on the headline metrics."""


def pivots(
    scores: pd.DataFrame,
    metrics: Sequence[Metric],
    kind: Callable[[str], str],
    published: pd.DataFrame,
    notes: Mapping[str, str] = MappingProxyType({}),
) -> list[Pivot]:
    """Return the pivots of one task, dataset after dataset.

    Parameters
    ----------
    scores
        Rows of tables.SCORES of the task; models stand in the order of their rows. Rows that differ in dataset, label,
        protocol or split stand in different pivots.
    metrics
        The task's `METRICS`; rows of other metrics are in the table and not shown.
    kind
        Says of a model whether it is a `model` trained here, a `baseline` or `external`.
    published
        Rows of tables.SCORES of the same task that were published. Those of a pivot's dataset stand below its models,
        in the metrics that they have, and are never the best.
    notes
        What is to be said of a model, by its name.
    """
    shown = scores[scores["metric"].isin([metric.name for metric in metrics])]
    groups = shown.groupby(["dataset", "label", "protocol", "split"], sort=False)
    return [
        _pivot(rows, metrics, kind, published[published["dataset"] == dataset], notes) for (dataset, *_), rows in groups
    ]


def _pivot(
    scores: pd.DataFrame,
    metrics: Sequence[Metric],
    kind: Callable[[str], str],
    published: pd.DataFrame,
    said_of: Mapping[str, str],
) -> Pivot:
    columns = tuple(metric for metric in metrics if (scores["metric"] == metric.name).any())
    notes = _Notes()
    best = {metric.name: _best(scores[scores["metric"] == metric.name], metric) for metric in columns}
    rows = []
    for model, own in scores.groupby("model", sort=False):
        leakage = own["leakage"].iloc[0]
        by_metric = own.set_index("metric")
        cells = tuple(_cell(by_metric, metric, best[metric.name], notes) for metric in columns)
        said = ["" if leakage.startswith("none") else leakage, said_of.get(str(model), "")]
        rows.append(Row(str(model), kind(str(model)), cells, ", ".join(notes.letter(text) for text in said if text)))
    published = published[published["metric"].isin([metric.name for metric in columns])]
    for model, theirs in published.groupby("model", sort=False):
        cells = tuple(_cell(theirs.set_index("metric"), metric, None, notes) for metric in columns)
        protocols = ", ".join(notes.letter(protocol) for protocol in theirs["protocol"].unique())
        rows.append(Row(str(model), "published", cells, protocols))
    first = scores.iloc[0]
    verdicts = [
        verdict(scores[scores["metric"] == metric.name].set_index("model"), metric, kind)
        for metric in columns
        if metric.headline
    ]
    return Pivot(
        dataset=first["dataset"],
        metrics=columns,
        rows=tuple(rows),
        notes=tuple(notes.said),
        n=int(scores["n"].max()),
        label=first["label"],
        protocol=first["protocol"],
        split=first["split"],
        intervals=", ".join(sorted(set(scores["ci_method"]) - {""})),
        verdicts=tuple(filter(None, verdicts)),
    )


class _Notes:
    """Letters of notes, in the order in which they are first asked for."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letter(self, text: str) -> str:
        """Return the letter of a note."""
        place = len(self._letters)
        return self._letters.setdefault(text, ascii_lowercase[place % 26] * (place // 26 + 1))

    @property
    def said(self) -> list[tuple[str, str]]:
        """Letter and text of each note."""
        return [(letter, text) for text, letter in self._letters.items()]


def _best(scores: pd.DataFrame, metric: Metric) -> pd.Series | None:
    """Return the row of the best model; None where the metric does not rank, or no model has a value."""
    values = scores["value"].dropna()
    if values.empty or not metric.ranks:
        return None
    return scores.loc[values.idxmax() if metric.higher_is_better else values.idxmin()]


def _cell(by_metric: pd.DataFrame, metric: Metric, best: pd.Series | None, notes: _Notes) -> Cell:
    if metric.name not in by_metric.index:
        return Cell("")
    row = by_metric.loc[metric.name]
    if row["reason"]:
        return Cell("–", note=notes.letter(row["reason"]))
    interval = "" if np.isnan(row["ci_low"]) else f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"
    mark = ""
    if best is not None:
        mark = "best" if row["value"] == best["value"] else "tie" if outcome_of(row, best) == "tie" else ""
    return Cell(f"{row['value']:.3f}", interval, mark, number=f"{row['value']:.6g}")


def verdict(scores: pd.DataFrame, metric: Metric, kind: Callable[[str], str]) -> str:
    """Return a sentence on whether our best model beats the best baseline; empty where no model of ours was scored.

    Parameters
    ----------
    scores
        `value`, `ci_low` and `ci_high` of each model at the metric; the index is the model.
    metric
        The metric.
    kind
        As in `pivots`.
    """
    scores = scores[scores["value"].notna()]
    kinds = scores.index.map(kind)
    ours, theirs = (_best(scores[kinds == wanted].reset_index(), metric) for wanted in ("model", "baseline"))
    if ours is None:
        return ""
    best = f"{metric.title}: the best trained model is {ours['model']} ({ours['value']:.3f})"
    if theirs is None:
        return f"{best}; no baseline can be scored."
    rival = f"the best baseline, {theirs['model']} ({theirs['value']:.3f})"
    gap = (ours["value"] - theirs["value"]) * (1 if metric.higher_is_better else -1)
    if gap == 0:
        return f"{best}, level with {rival}."
    overlap = "; their intervals overlap" if outcome_of(ours, theirs) == "tie" else ""
    return f"{best}, {abs(gap):.3f} {'better' if gap > 0 else 'WORSE'} than {rival}{overlap}."


def model_table(scores: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one row per model: parameters, width, and for each dataset what it may have seen of it."""
    columns = ["model", "n_params", "width", "leakage", "dataset"]
    if not scores:
        return pd.DataFrame(columns=columns)
    seen = pd.concat(scores, ignore_index=True)[columns].drop_duplicates()
    return seen.groupby(columns[:-1], sort=False)["dataset"].agg(", ".join).reset_index()


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

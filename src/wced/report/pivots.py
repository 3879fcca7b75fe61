"""Score tables as a reader wants them: models as rows, metrics as columns, the best marked, gaps explained."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from types import MappingProxyType

import numpy as np
import pandas as pd

from wced.benchmarks.task import Metric
from wced.stats import outcome_of
from wced.tables import SCORES


@dataclass(frozen=True)
class Cell:
    """One cell of a pivot."""

    value: str
    """The score with three decimals; a dash if there is none."""
    interval: str = ""
    """The 95% interval."""
    mark: str = ""
    """`best` if no model is better, `tie` if the interval overlaps that of the best, else empty."""
    note: str = ""
    """Letter of the reason why there is no value."""
    number: str = ""
    """The score with all digits; empty if there is none."""


@dataclass(frozen=True)
class Row:
    """One model's row of a pivot."""

    model: str
    kind: str
    """`model` (trained here), `baseline`, `external`, or `published` for numbers that were not computed here."""
    cells: tuple[Cell, ...]
    """A cell for each metric."""
    note: str = ""
    """Letters of notes: what the model may have seen of the cells, or how published numbers were computed."""


@dataclass(frozen=True)
class Pivot:
    """Scores of one task on one dataset, with one label, protocol and split."""

    dataset: str
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    """A row for each model, then the published numbers."""
    notes: tuple[tuple[str, str], ...]
    """Letter and text of each note."""
    n: int
    """Cells, or genes, scored."""
    label: str
    """The truth: a column of obs."""
    protocol: str
    """How the scores were computed."""
    split: str
    """Which cells were scored."""
    intervals: str
    """How intervals were computed."""
    verdicts: tuple[str, ...]
    """Sentences on the headline metrics."""


def pivots(
    scores: pd.DataFrame,
    metrics: Sequence[Metric],
    kind: Callable[[str], str],
    published: pd.DataFrame,
    notes: Mapping[str, str] = MappingProxyType({}),
) -> list[Pivot]:
    """Return the pivots of one task: each dataset, label, protocol and split has its own.

    Parameters
    ----------
    scores
        Rows of tables.SCORES of the task, which give the order of the models.
    metrics
        The task's `METRICS`; other metrics of the table are not shown.
    kind
        Function that returns whether a model is a `model` trained here, a `baseline` or `external`.
    published
        Published rows of tables.SCORES of the task, which are shown below the models and are never the best.
    notes
        Text of a note for a model, by its name.
    """
    scores = scores[scores["metric"].isin([metric.name for metric in metrics])]
    result = []
    for key, group in scores.groupby(["dataset", "label", "protocol", "split"], sort=False):
        dataset, label, protocol, split = key
        by_metric = dict(list(group.groupby("metric")))
        columns = tuple(metric for metric in metrics if metric.name in by_metric)
        best = {metric.name: _best(by_metric[metric.name], metric) for metric in columns}
        letters: dict[str, str] = {}
        rows = []
        for model, own in group.groupby("model", sort=False):
            leakage = own["leakage"].iloc[0]
            cells = tuple(_cell(own.set_index("metric"), metric, best[metric.name], letters) for metric in columns)
            texts = ["" if leakage.startswith("none") else leakage, notes.get(model, "")]
            rows.append(Row(model, kind(model), cells, _letters(filter(None, texts), letters)))
        others = published[(published["dataset"] == dataset) & published["metric"].isin(by_metric)]
        for model, own in others.groupby("model", sort=False):
            cells = tuple(_cell(own.set_index("metric"), metric, None, letters) for metric in columns)
            rows.append(Row(model, "published", cells, _letters(own["protocol"].unique(), letters)))
        headlines = [metric for metric in columns if metric.headline]
        verdicts = (verdict(by_metric[metric.name].set_index("model"), metric, kind) for metric in headlines)
        pivot = Pivot(
            dataset=dataset, metrics=columns, rows=tuple(rows), n=int(group["n"].max()), label=label, protocol=protocol,
            split=split, notes=tuple((letter, text) for text, letter in letters.items()),
            intervals=", ".join(sorted(set(group["ci_method"]) - {""})), verdicts=tuple(filter(None, verdicts)),
        )  # fmt: skip
        result.append(pivot)
    return result


def _letters(texts: Iterable[str], letters: dict[str, str]) -> str:
    """Return the letters of notes; a new note gets the next one: a to z, then aa, bb and so on."""
    texts = list(texts)
    for text in texts:
        index = len(letters)
        letters.setdefault(text, ascii_lowercase[index % 26] * (index // 26 + 1))
    return ", ".join(letters[text] for text in texts)


def _best(scores: pd.DataFrame, metric: Metric) -> pd.Series | None:
    """Return the row of the best model; None if the metric does not rank models, or no model has a value."""
    values = scores["value"].dropna()
    if values.empty or not metric.ranks:
        return None
    return scores.loc[values.idxmax() if metric.higher_is_better else values.idxmin()]


def _cell(by_metric: pd.DataFrame, metric: Metric, best: pd.Series | None, letters: dict[str, str]) -> Cell:
    if metric.name not in by_metric.index:
        return Cell("")
    row = by_metric.loc[metric.name]
    if row["reason"]:
        return Cell("–", note=_letters([row["reason"]], letters))
    interval = "" if np.isnan(row["ci_low"]) else f"{row['ci_low']:.3f} to {row['ci_high']:.3f}"
    mark = ""
    if best is not None:
        mark = "best" if row["value"] == best["value"] else "tie" if outcome_of(row, best) == "tie" else ""
    return Cell(f"{row['value']:.3f}", interval, mark, number=f"{row['value']:.6g}")


def verdict(scores: pd.DataFrame, metric: Metric, kind: Callable[[str], str]) -> str:
    """Return a sentence on whether our best model beats the best baseline; empty if no model of ours was scored.

    `scores` has `value`, `ci_low` and `ci_high` of each model at the metric, with the model as the index.
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


def pooled(scores: pd.DataFrame, seeds: Mapping[str, int]) -> pd.DataFrame:
    """Return scores with the models that differ only in the seed of their weights as one row, named as the first.

    Its value is the mean over seeds, and its interval reaches from the lowest to the highest. If one seed has no value,
    neither has the mean. `seeds` has the seed of each such model; with fewer than two, nothing changes.
    """
    several = scores["model"].isin(list(seeds))
    if len(seeds) < 2 or not several.any():
        return scores
    groups = scores[several].groupby([name for name in SCORES.key if name != "model"], sort=False)
    rows = [_mean(group) | {"model": next(iter(seeds))} for _, group in groups]
    means = pd.DataFrame(rows, index=[group.index[0] for _, group in groups])
    return pd.concat([scores[~several], means]).sort_index(kind="stable").reset_index(drop=True)


def _mean(group: pd.DataFrame) -> dict[str, object]:
    row = group.iloc[0].to_dict() | {"ci_method": ""}
    without = group[group["reason"] != ""]
    if len(without):
        model, reason = without.iloc[0][["model", "reason"]]
        reason = reason if len(without) == len(group) else f"{model}: {reason}"
        return row | dict.fromkeys(("value", "ci_low", "ci_high"), float("nan")) | {"reason": reason}
    values = group["value"]
    return row | {"value": values.mean(), "ci_low": values.min(), "ci_high": values.max()}


def pooling_note(seeds: Mapping[str, int]) -> str:
    """Return the note on how seeds were pooled."""
    listed = ", ".join(map(str, seeds.values()))
    return (
        f"mean over {len(seeds)} samples of untrained weights (seeds {listed}), in small print the lowest and the "
        "highest; the file has each"
    )


def model_table(scores: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one row per model: parameters, width, and for each dataset what it may have seen of it."""
    columns = ["model", "n_params", "width", "leakage", "dataset"]
    if not scores:
        return pd.DataFrame(columns=columns)
    models = pd.concat(scores, ignore_index=True)[columns].drop_duplicates()
    return models.groupby(columns[:-1], sort=False)["dataset"].agg(", ".join).reset_index()


def sampling_steps(sampling: pd.DataFrame) -> pd.DataFrame:
    """Return one row per step of tables.SAMPLING: strata, how many it thinned, and cells before and after."""
    thinned = sampling["cells_taken"] < sampling["cells_there"]
    steps = sampling.assign(thinned=thinned).groupby(["step", "kind", "by"], sort=False)
    return steps.agg(
        strata=("stratum", "size"),
        strata_thinned=("thinned", "sum"),
        cells_there=("cells_there", "sum"),
        cells_taken=("cells_taken", "sum"),
        largest_taken=("cells_taken", "max"),
    ).reset_index()

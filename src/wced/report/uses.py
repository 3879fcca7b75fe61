"""The first section of the report: which model to use for what, by the benchmarks of the run."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from wced.benchmarks.comparison.statistics import COMPARED, differences, ranking
from wced.benchmarks.finetuned_annotation import MODES, PROBES
from wced.config import Run
from wced.embedding.baselines import LEAKAGE, LEAKAGE_BATCH
from wced.stats import outcome, outcome_of, over_datasets

USES = {
    "To cluster or browse the cells of a new dataset without labels": {
        "zero_shot_integration": {"avg_bio": "AvgBio", "neighbour_purity": "neighbour purity"}
    },
    "To carry labels from a labelled dataset to a new one": {
        "transfer": {
            "accuracy_knn": "accuracy of neighbours",
            "macro_f1_knn": "macro F1 of neighbours",
            "accuracy_lr": "accuracy of logistic regression",
            "macro_f1_lr": "macro F1 of logistic regression",
        }
    },
    "To name cell types with no labels at all": {
        "zero_shot_annotation": {
            "accuracy_exact": "cells named exactly",
            "accuracy_lineage_known": "cells named exactly or by a coarser term",
        }
    },
    "To train a classifier on labels of your own": {
        "probe": {"macro_f1_lr": "macro F1 of logistic regression"},
        "czi": {"macro_f1": "macro F1 of CZI’s classifiers"},
        "finetuned_annotation": {
            f"macro_f1_{mode}": f"macro F1 after fine-tuning ({title})"
            for mode, title in MODES.items()
            if mode not in PROBES
        },
    },
}
"""Metrics of each use, by benchmark, and their names in a sentence; higher is better for all."""
STEP_0 = "_step_0"
"""Suffix of the model that has the weights of a checkpoint before its first step."""


def recommendations(
    scores: Mapping[str, pd.DataFrame], run: Run, marks: Mapping[str, str] = MappingProxyType({})
) -> dict[str, list[str]]:
    """Return sentences on each use that a benchmark of the run scored, by the use and its datasets in words.

    First come checkpoints that are no better than their weights before training (`<checkpoint>_step_0`, or `untrained`
    if that was not scored). Then, for each outcome, the best model trained here beside the best of the others, by means
    over the datasets. Models without a score on a dataset that others are scored on are left out.

    `scores` has the rows of tables.SCORES of each task, and `marks` what a reader must know of a dataset: that it is
    for `development`, or `LEAKED`.
    """
    # By use, then by sentence: each measure with its values.
    failures, choices = (defaultdict(lambda: defaultdict(list)) for _ in range(2))
    for use, task, measure, field in _fields(scores):
        ranks = ranking(field)
        # Only models that have a score on all datasets have a mean over them.
        means = ranks[(ranks["dataset"] == "all") & (ranks["reason"] == "")].set_index("model")["value"]
        if means.empty:
            continue
        names = [f"{name} [{marks[name]}]" if name in marks else name for name in dict.fromkeys(field["dataset"])]
        train_on = getattr(run.benchmarks.tasks[task], "train_on", "")
        where = f"from {train_on} to" if train_on else "mean over" if len(names) > 1 else "on"
        title = f"{use} ({where} {_listed(names)})"
        for name in [name for name in run.pretraining.checkpoints if name in means.index]:
            start = next((start for start in (f"{name}{STEP_0}", "untrained") if start in means.index), None)
            if start is not None and compared(field, name, start) != "better":
                own = "its own weights before training" if start.endswith(STEP_0) else "untrained weights"
                sentence = f"Training did not make {name} clearly better than {own} ({start})"
                failures[title][sentence].append((measure, _values(field, name, start)))
        sentence, *models = _choice(field, means, run)
        choices[title][sentence].append((measure, _values(field, *models)))
    return {
        title: [*_sentences(failures[title]), *_sentences(sentences, measures_first=len(sentences) > 1)]
        for title, sentences in choices.items()
    }


def _sentences(sentences: Mapping[str, list[tuple[str, str]]], *, measures_first: bool = False) -> Iterator[str]:
    """Yield each sentence with its measures and their values; measures come first if they disagree."""
    for text, measures in sentences.items():
        if measures_first:
            names, values = zip(*measures, strict=True)
            yield f"By {_listed(names)}, {text[0].lower()}{text[1:]} ({'; '.join(values)})."
        else:
            yield f"{text}, by {_listed([f'{name} ({value})' for name, value in measures])}."


def compared(field: pd.DataFrame, a: str, b: str) -> str:
    """Return the `stats.outcome` of model a against b in scores of one metric at which higher is better.

    Over several datasets the interval of the mean difference decides; with one dataset, the intervals of both scores
    (`stats.outcome_of`).
    """
    pair = differences(field[field["model"].isin([a, b])]).iloc[0]
    if pair["datasets"] > 1:
        low, high = (pair["ci_low"], pair["ci_high"]) if pair["model_a"] == a else (-pair["ci_high"], -pair["ci_low"])
        return outcome(low, high)
    ends = field.groupby("model")[["ci_low", "ci_high"]].mean()
    return outcome_of(ends.loc[a], ends.loc[b])


def _fields(scores: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield use, task, name of the measure, and those of its values that may be compared."""
    for use, tasks in USES.items():
        for task in [task for task in tasks if task in scores]:
            rows = scores[task][scores[task]["reason"] == ""]
            for metric, measure in tasks[task].items():
                for _, field in rows[rows["metric"] == metric].groupby(COMPARED, sort=False):
                    yield use, task, measure, field


def _choice(field: pd.DataFrame, means: pd.Series, run: Run) -> tuple[str, str, str | None]:
    """Return a sentence on which model to use, and the models whose values it is based on, the one to use first."""
    trained = means.index.map(run.kind) == "model"
    best, other = (part.idxmax() if len(part) else None for part in (means[trained], means[~trained]))
    if best is None or other is None:
        missing = "no model without pretraining" if other is None else "no model trained here"
        return f"Use {best or other}: {missing} was scored beside it", best or other, None
    leakage = min(field.loc[field["model"] == other, "leakage"])
    fitted = leakage.startswith((LEAKAGE, LEAKAGE_BATCH))
    origin = "made elsewhere" if run.kind(other) == "external" else "no pretraining"
    free = f"{other} ({origin}{'; ' + leakage.replace('these cells', 'the scored cells') if fitted else ''})"
    match compared(field, best, other):
        case "better":
            return f"Use {best}: better than {free}", best, other
        case "worse":
            return f"Use {free}: better than {best}, the best model trained here", other, best
    return f"Use {best} or {free}: neither is clearly better", best, other


def _values(field: pd.DataFrame, first: str, second: str | None) -> str:
    """Return the mean of the first model with its interval, and that of the second."""
    scores = field.groupby(["model", "dataset"], sort=False)[["value", "ci_low", "ci_high"]].mean()
    own = scores.loc[first]
    mean = over_datasets(own["value"].to_numpy()) if len(own) > 1 else own.iloc[0]
    interval = "" if np.isnan(mean.ci_low) else f", {mean.ci_low:.2f} to {mean.ci_high:.2f}"
    against = "" if second is None else f", against {scores.loc[second, 'value'].mean():.2f}"
    return f"{mean.value:.2f}{interval}{against}"


def _listed(names: Collection[str]) -> str:
    """Return names as a list in words."""
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last

"""Reconstruction beside downstream scores of checkpoints, and paired tests of what each factor does."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import parquet

from wced import tables
from wced.benchmarks.ablation import METRICS
from wced.benchmarks.comparison.statistics import differences
from wced.config.ablation import Ablation
from wced.errors import WcedError
from wced.files import existing
from wced.stats import adjusted

VALIDATION = "validation cells"
"""Name of the dataset where all validation cells are one."""


def reconstruction(folders: Sequence[str | Path], *, run: str, seed: int, min_nonzero: int) -> pd.DataFrame:
    """Return how well checkpoints reconstruct validation cells, after their last epochs; rows of tables.SCORES.

    The rescaled MAE of a gene is its mean absolute error over its mean value (BMFM-RNA paper, section 10), here
    Σ|error| / Σvalue over the cells that express it (of MLM: over masked positions). Predictions are 0 where the gene
    is called zero. There is its median over genes (`n` counts them) for each validation dataset and for all cells
    together, and the validation loss. The median is over genes with enough values in every checkpoint: MLM predicts
    frequent genes far more often than rare ones, and medians over other genes could not be compared.

    `folders` hold what pretraining wrote for each checkpoint, `gene_error_sums.parquet` and `metrics.tsv`. A gene needs
    `min_nonzero` non-zero values in every checkpoint. Raises WcedError if a file is missing, or a checkpoint decodes
    expression in two ways.
    """
    rows, errors, datasets = [], {}, set()
    for folder in map(Path, folders):
        metrics = tables.read(tables.METRICS, folder / "metrics.tsv")
        checkpoint = metrics["checkpoint"].iloc[0]
        losses = metrics[(metrics["split"] == "validation") & (metrics["metric"] == "loss")].sort_values("epoch")
        rows.append((checkpoint, VALIDATION, "validation_loss", losses["value"].iloc[-1], 0, ""))
        sums = _last_sums(folder / "gene_error_sums.parquet")
        datasets |= set(sums["dataset"])
        whole = sums.groupby("gene_id", as_index=False).sum(numeric_only=True)
        both = pd.concat([sums, whole.assign(dataset=VALIDATION)], ignore_index=True)
        enough = both[(both["n_nonzero"] >= min_nonzero) & (both["sum_value"] > 0)]
        errors[checkpoint] = enough.set_index(["dataset", "gene_id"]).eval("sum_abs_error / sum_value")
    common = pd.concat(errors, axis=1, join="inner").reset_index(level="gene_id", drop=True)
    metric_of = dict.fromkeys(sorted(datasets), "median_rescaled_mae") | {VALIDATION: "overall_rescaled_mae"}
    for checkpoint in errors:
        for dataset, metric in metric_of.items():
            values = common.loc[common.index == dataset, checkpoint]
            reason = "" if len(values) else f"no gene has {min_nonzero} non-zero values in every checkpoint"
            rows.append((checkpoint, dataset, metric, values.median(), len(values), reason))
    table = pd.DataFrame(rows, columns=["model", "dataset", "metric", "value", "n", "reason"]).assign(
        run=run, task="ablation", split="validation", label="expression", ci_low=np.nan, ci_high=np.nan, ci_method="",
        protocol=f"last epoch; median over genes of {min_nonzero} non-zero values or more in every checkpoint",
        n_params=0, width=0, seed=seed, source="here", leakage="cells of datasets that were trained on",
    )  # fmt: skip
    return tables.checked(table, tables.SCORES)


def _last_sums(path: Path) -> pd.DataFrame:
    """Return the sums of errors of the last epoch by dataset and gene."""
    epochs = parquet.read_table(existing(path, "sums of gene errors"), columns=["epoch"])["epoch"]
    columns = ["decoder", "dataset", "gene_id", "n_nonzero", "sum_abs_error", "sum_value"]
    last = [("epoch", "=", max(epochs.unique().to_pylist()))]
    sums = parquet.read_table(path, columns=columns, filters=last).to_pandas().astype({"dataset": str})
    if len(sums["decoder"].unique()) > 1:
        raise WcedError(f"{path}: the checkpoint decodes expression in two ways; an ablation compares one of each")
    return sums.groupby(["dataset", "gene_id"], observed=True, as_index=False).sum(numeric_only=True)


def chosen(scores: pd.DataFrame, section: Ablation) -> pd.DataFrame:
    """Return the scores of the ablation's checkpoints at its metrics and of reconstruction; WcedError if one lacks."""
    metrics = section.metrics | {"ablation": [metric.name for metric in METRICS]}
    named = [metric in metrics.get(task, ()) for task, metric in zip(scores["task"], scores["metric"], strict=True)]
    scores = scores[np.array(named, bool) & scores["model"].isin(list(section.checkpoints))]
    present = set(zip(scores["task"], scores["metric"], scores["model"], strict=True))
    for task, names in metrics.items():
        for metric in names:
            for model in section.checkpoints:
                if (task, metric, model) not in present:
                    raise WcedError(f"ablation.metrics: {task} has no score {metric} of {model}")
    return scores.reset_index(drop=True)


def table(scores: pd.DataFrame, section: Ablation) -> pd.DataFrame:
    """Return rows of tables.ABLATION: the scores that `chosen` returned, and their means over datasets."""
    scores = scores.rename(columns={"model": "checkpoint"})
    key = ["checkpoint", "task", "metric", "protocol", "label"]
    mean = scores.groupby(key, sort=False).agg(value=("value", lambda x: x.mean(skipna=False)), n=("value", "size"))
    mean = mean[mean["n"] > 1].reset_index().assign(dataset="mean", ci_low=np.nan, ci_high=np.nan, ci_method="")
    mean["reason"] = np.where(mean["value"].isna(), "a dataset has no value", "")
    both = pd.concat([scores, mean], ignore_index=True)
    order = {name: list(dict.fromkeys(both[name])) for name in ("task", "metric")}
    both = _sorted(both, order | {"checkpoint": list(section.checkpoints)})
    both["levels"] = both["checkpoint"].map({name: in_words(levels) for name, levels in section.checkpoints.items()})
    return tables.checked(both[tables.ABLATION.names], tables.ABLATION)


def _sorted(table: pd.DataFrame, order: dict[str, list[str]]) -> pd.DataFrame:
    """Return a table sorted by some columns, whose values come in a certain order."""
    return table.sort_values(list(order), key=lambda column: column.map(order[column.name].index), kind="stable")


def in_words(levels: dict[str, str]) -> str:
    """Return levels as text: `objective=MLM, corpus=10%`."""
    return ", ".join(f"{factor}={level}" for factor, level in levels.items())


def effects(scores: pd.DataFrame, section: Ablation) -> pd.DataFrame:
    """Return what each factor does to each metric, paired over datasets; rows of tables.ABLATION_EFFECTS.

    Two levels of a factor are compared among checkpoints that are alike in all other factors, and once more with the
    scores of these averaged (`others` is `mean`). Intervals and tests are those of `comparison.statistics.differences`;
    the p-values are corrected by Holm's method over all effects on a metric. `scores` are what `chosen` returned.
    """
    parts = [
        differences(_by_level(scores, level_of)).assign(factor=factor, others=others)
        for factor, others, level_of in _contrasts(section)
    ]
    if not parts:
        raise WcedError("ablation.checkpoints: no two of them differ in one factor only")
    both = pd.concat(parts, ignore_index=True).rename(columns={"model_a": "level_a", "model_b": "level_b"})
    on_a_metric = both.groupby(["task", "metric", "protocol", "label"], sort=False)["p"]
    both["p_adjusted"] = on_a_metric.transform(adjusted, method="holm")
    both["test"] = both["test"].str.replace("pairs of models", "all effects on the metric")
    return tables.checked(both[tables.ABLATION_EFFECTS.names], tables.ABLATION_EFFECTS)


def _contrasts(section: Ablation) -> Iterator[tuple[str, str, pd.Series]]:
    """Yield factor, levels of the others, and the factor's level by checkpoint, wherever levels can be compared."""
    levels = pd.DataFrame.from_dict(section.checkpoints, orient="index")
    for factor in levels:
        others = [name for name in levels if name != factor]
        groups = [part for _, part in levels.groupby(others, sort=False)] if others else [levels]
        groups = [part for part in groups if len(part) > 1]
        for part in groups:
            yield factor, in_words(part[others].iloc[0].to_dict()), part[factor]
        if len({frozenset(part[factor]) for part in groups}) == 1 and len(groups) > 1:
            yield factor, "mean", pd.concat([part[factor] for part in groups])


def _by_level(scores: pd.DataFrame, level_of: pd.Series) -> pd.DataFrame:
    """Return the scores of some checkpoints by their level in place of their name."""
    part = scores[scores["model"].isin(level_of.index)]
    part = part.assign(model=part["model"].map(level_of), n_params=0, width=0)
    return _sorted(part, {"dataset": list(dict.fromkeys(part["dataset"])), "model": list(dict.fromkeys(level_of))})

"""Time to quality: train a recipe for minutes, and score zero-shot embeddings on the way."""

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speed.machine import machine
from speed.speedrun_scores import Scorer, scored_datasets
from speed.speedrun_training import Snapshot, train
from wced import tables
from wced.config.speedrun import Speedrun
from wced.corpus.datasets import Dataset
from wced.figures import GREEN, INDIGO, ROSE, SAND, TEAL, save, styled
from wced.figures.charts import legend, panels
from wced.files import whole_folder
from wced.model.cpu import keep_freed_memory
from wced.shards.reader import ShardSet

TITLES = {"avg_bio": "AvgBio", "macro_f1": "probe, macro F1"}
"""Metrics of the log and the figure, with their titles."""
LINES = {
    "untrained": (TEAL, ":"),
    "pca": (ROSE, "--"),
    "hvg": (GREEN, "-."),
    "corpus_pca": (SAND, (0, (1, 1, 4, 1))),
}
"""Colour and line style of models that need no training."""


def speedrun(
    output: str | Path,
    shard_folder: str | Path,
    sources: str | Path,
    section: Speedrun,
    rows: Mapping[str, Dataset],
    *,
    held_out: bool,
) -> dict[str, Any]:
    """Train the recipe with each seed; write its curve beside the baselines, `curve.tsv` and `curve.svg`, to a folder.

    `sources`, `rows` and `held_out` are as in `scored_datasets`; a recipe must be frozen before held-out datasets are
    scored. Returns facts for the provenance: the machine, what was trained and how fast for each seed, and the scored
    datasets. Raises WcedError if shards or datasets do not fit the section (`scored_datasets`, `train`).
    """
    keep_freed_memory()
    logging.getLogger("czbenchmarks").setLevel(logging.WARNING)  # it logs every probe
    shards = ShardSet(shard_folder, verify=True)
    datasets = scored_datasets(shards, section, sources, rows, held_out=held_out)
    scorer = Scorer(shards, section, datasets)
    frames: list[pd.DataFrame] = []
    threads = torch.get_num_threads()

    def add(scores: pd.DataFrame, model: str, seed: int, **facts: Any) -> None:
        torch.set_num_threads(threads)  # UMAP's connectivities, used to cluster, set it to the number of cores
        frames.append(scores.assign(recipe=section.name, model=model, seed=seed, **facts))
        shown = scores[scores["metric"].isin(TITLES) & (scores["reason"] == "")]
        values = [f"{row.dataset} {row.metric} {row.value:.3f}" for row in shown.itertuples()]
        print(f"  {model}: {', '.join(values) or 'no score'}", flush=True)

    untrained = {"minutes": 0.0, "steps": 0, "cells_seen": 0, "cells_per_second": math.nan, "loss": math.nan}
    for name, scores in scorer.baselines():
        add(scores, name, section.seeds[0], **untrained)
    trainings = {}
    for seed in section.seeds:

        def take(snapshot: Snapshot, seed: int = seed) -> None:
            rate = f" ({snapshot.cells_per_second:.0f}/s), loss {snapshot.loss:.4f}" if snapshot.steps else ""
            print(f"seed {seed}, {snapshot.minutes:g} min: {snapshot.cells} cells{rate}", flush=True)
            add(
                scorer.snapshot(snapshot), "recipe" if snapshot.minutes else "untrained", seed,
                minutes=snapshot.minutes, steps=snapshot.steps, cells_seen=snapshot.cells,
                cells_per_second=snapshot.cells_per_second, loss=snapshot.loss,
            )  # fmt: skip

        trainings[seed] = train(shards, section, seed, take)
    with whole_folder(output) as folder:
        tables.write(pd.concat(frames, ignore_index=True), tables.SPEEDRUN, folder / "curve.tsv")
        # From the table as written, so that the figure can be made from it again.
        save(figure(tables.read(tables.SPEEDRUN, folder / "curve.tsv"), list(TITLES)), folder / "curve.svg")
    return {
        "machine": machine(),
        "threads": threads,
        "trainings": trainings,
        "held_out": held_out,
        "scored": {dataset.name: {"role": dataset.role, "sha256": dataset.sha256} for dataset in datasets},
    }


@styled
def figure(curve: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """Return a panel for each dataset (columns) and metric (rows): the recipe's seeds (thin) and their mean.

    `curve` has rows of tables.SPEEDRUN of one recipe, each metric is in [0, 1], and missing values are left out.
    """
    datasets = list(dict.fromkeys(curve["dataset"]))
    result, axes = panels(
        len(metrics) * len(datasets), 3.1, 2.5, columns=len(datasets), margin=(1.4, 0.4), sharex=True, sharey="row"
    )
    for axis, (metric, dataset) in zip(axes, product(metrics, datasets), strict=True):
        _panel(axis, curve[(curve["metric"] == metric) & (curve["dataset"] == dataset)])
        axis.set_title(f"{dataset}: {TITLES[metric]}")
    for axis in axes[-len(datasets) :]:
        axis.set_xlabel("minutes of training")
    looks = {curve["recipe"].iloc[0]: {"color": INDIGO, "marker": "o", "ms": 3}}
    looks |= {name: {"color": colour, "ls": style} for name, (colour, style) in LINES.items()}
    legend(result, "right upper", looks)
    return result


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    """Plot one metric of one dataset."""
    recipe = rows[rows["model"].isin(["untrained", "recipe"])]
    for _, seed in recipe.groupby("seed"):
        axis.plot(seed["minutes"], seed["value"], color=INDIGO, lw=0.7, alpha=0.5)
    mean = recipe.groupby("minutes")["value"].mean()
    axis.plot(mean.index, mean, color=INDIGO, marker="o", ms=3, lw=1.5)
    for name, (colour, style) in LINES.items():
        values = rows.loc[rows["model"] == name, "value"].dropna()
        if len(values):
            axis.axhline(values.mean(), color=colour, ls=style, lw=1)

"""Time to quality: train a recipe for minutes, and score zero-shot embeddings on the way."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from speed.machine import machine
from speed.speedrun_figure import figure
from speed.speedrun_scores import Scorer, scored_datasets
from speed.speedrun_training import Snapshot, train
from wced import tables
from wced.config.speedrun import Speedrun
from wced.corpus.datasets import Dataset
from wced.figures import save
from wced.files import whole_folder
from wced.model.cpu import keep_freed_memory
from wced.shards.reader import ShardSet

SHOWN = ("avg_bio", "macro_f1")
"""Metrics that the log and the figure show."""


def speedrun(
    output: str | Path,
    shard_folder: str | Path,
    sources: str | Path,
    section: Speedrun,
    rows: Mapping[str, Dataset],
    *,
    held_out: bool,
) -> dict[str, Any]:
    """Train the recipe with each seed and write its curve beside the baselines.

    Parameters
    ----------
    output
        Folder to make: `curve.tsv` (tables.SPEEDRUN) and `curve.svg`.
    shard_folder
        Folder with index.json and its shards.
    sources
        Folder with the harmonised datasets, `<dataset>.h5ad`.
    section
        Recipe, minutes, seeds and what is scored.
    rows
        The table of datasets, which says what is held out.
    held_out
        Whether held-out datasets are scored too; a recipe must be frozen by then.

    Returns
    -------
    dict
        Facts for the provenance: the machine, by seed what was trained and how fast, and what was scored.

    Raises
    ------
    WcedError
        If shards or datasets do not fit the section (`scored_datasets`, `train`).
    """
    keep_freed_memory()
    logging.getLogger("czbenchmarks").setLevel(logging.WARNING)  # it tells of every probe
    shards = ShardSet(shard_folder, verify=True)
    datasets = scored_datasets(shards, section, sources, rows, held_out=held_out)
    scorer = Scorer(shards, section, datasets)
    frames: list[pd.DataFrame] = []
    threads = torch.get_num_threads()

    def add(scores: pd.DataFrame, model: str, seed: int, **trained: Any) -> None:
        torch.set_num_threads(threads)  # UMAP's connectivities, which are clustered, leave as many as there are cores
        frames.append(scores.assign(recipe=section.name, model=model, seed=seed, **trained))
        shown = scores[scores["metric"].isin(SHOWN)]
        values = [f"{row.dataset} {row.metric} {row.value:.3f}" for row in shown.itertuples() if not row.reason]
        print(f"  {model}: {', '.join(values) or 'no score'}", flush=True)

    untrained = {"minutes": 0.0, "steps": 0, "cells_seen": 0, "cells_per_second": math.nan, "loss": math.nan}
    for name, scores in scorer.baselines():
        add(scores, name, section.seeds[0], **untrained)
    facts = {}
    for seed in section.seeds:

        def take(snapshot: Snapshot, seed: int = seed) -> None:
            rate = f" ({snapshot.cells_per_second:.0f}/s), loss {snapshot.loss:.4f}" if snapshot.steps else ""
            print(f"seed {seed}, {snapshot.minutes:g} min: {snapshot.cells} cells{rate}", flush=True)
            add(
                scorer.snapshot(snapshot), "recipe" if snapshot.minutes else "untrained", seed,
                minutes=snapshot.minutes, steps=snapshot.steps, cells_seen=snapshot.cells,
                cells_per_second=snapshot.cells_per_second, loss=snapshot.loss,
            )  # fmt: skip

        facts[seed] = train(shards, section, seed, take)
    with whole_folder(output) as temporary:
        tables.write(pd.concat(frames, ignore_index=True), tables.SPEEDRUN, temporary / "curve.tsv")
        # As written, so that the figure can be drawn again from the table.
        save(figure(tables.read(tables.SPEEDRUN, temporary / "curve.tsv"), SHOWN), temporary / "curve.svg")
    return {
        "machine": machine(),
        "threads": threads,
        "trainings": facts,
        "held_out": held_out,
        "scored": {dataset.name: {"role": dataset.role, "sha256": dataset.sha256} for dataset in datasets},
    }

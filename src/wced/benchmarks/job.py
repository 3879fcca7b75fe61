"""What a benchmark is made of: a job to score, the metrics it gives, and figures with the numbers behind them.

A benchmark is one module here, named as its key in the config, with `TITLE`, `METRICS` and `score(job)`.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from anndata import AnnData

from wced.benchmarks.neighbours import Neighbours, read_neighbours
from wced.config.benchmarks import Task
from wced.embedding.files import read_embedding
from wced.errors import WcedError
from wced.files import existing
from wced.tables import read_parquet


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    name: str
    """As in the table of scores."""
    title: str
    """Heading of its column."""
    meaning: str = ""
    """One sentence for the caption."""
    headline: bool = False
    """Whether the text says which model is best at it."""
    ranks: bool = True
    """Whether it measures the model, so that the best value is marked."""
    higher_is_better: bool = True
    """Which end is the best."""


@dataclass(frozen=True)
class Job:
    """One model on one dataset, with what the task's section says that it needs."""

    run: str
    """Name of the run."""
    seed: int
    """Seed of everything that the task draws."""
    section: Any
    """The task's section of the config."""
    embedding: AnnData
    """As `wced.embedding.files.read_embedding` gives it: the embedding as X, the dataset's obs, what it is in uns."""
    neighbours: Neighbours | None = None
    """Graph and clusterings of the embedding; for tasks that need `neighbours`."""
    annotation: pd.DataFrame | None = None
    """One row per cell, as `wced annotate` writes it; None too where a model has no ontology head."""
    checkpoint: Path | None = None
    """Folder of the pretrained model (config.json, model.safetensors, …). Of an untrained model the folder of the
    checkpoint whose encoder and labels it has; None too for other baselines."""
    source: Path | None = None
    """The harmonised dataset, raw counts (h5ad)."""
    reference: AnnData | None = None
    """The same model's embedding of the dataset that the section trains on; for tasks that need `reference`."""
    figures: Path | None = None
    """Folder that the task may write figures to; None for no figures."""

    @property
    def model(self) -> str:
        """Name of the model that is scored."""
        return self.embedding.uns["wced"]["model"]

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.embedding.uns["wced"]["dataset"]


def task_module(task: str) -> ModuleType:
    """Return the module of a benchmark, which has `TITLE`, `METRICS` and `score`."""
    return import_module(f"wced.benchmarks.{task}")


def read_job(
    run: str,
    seed: int,
    section: Task,
    embedding: str | Path,
    *,
    neighbours: str | Path | None = None,
    annotation: str | Path | None = None,
    checkpoint: str | Path | None = None,
    source: str | Path | None = None,
    reference: str | Path | None = None,
    figures: Path | None = None,
) -> Job:
    """Read the files of a job.

    Parameters
    ----------
    run, seed, section, figures
        As in `Job`.
    embedding, neighbours, annotation, checkpoint, source, reference
        Files and folder. A task is always given what it needs of them, but that a model may have no ontology head and
        no checkpoint.

    Raises
    ------
    WcedError
        If a file that the task needs is not given or not there, or is of another embedding.
    """
    for name, path in {"neighbours": neighbours, "source": source, "reference": reference}.items():
        if name in section.needs and path is None:
            raise WcedError(f"{type(section).__name__} needs --{name}")
    cells = read_embedding(embedding)
    return Job(
        run,
        seed,
        section,
        cells,
        neighbours=None if neighbours is None else read_neighbours(neighbours, cells),
        annotation=None if annotation is None else read_parquet(annotation, "predicted cell types"),
        checkpoint=None if checkpoint is None else existing(checkpoint, "the folder of a model"),
        source=None if source is None else existing(source, "a harmonised dataset"),
        reference=None if reference is None else read_embedding(reference),
        figures=figures,
    )

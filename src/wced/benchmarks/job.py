"""What a benchmark works with: a job, which is one model on one dataset, and the rows of the table of scores."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.benchmarks.neighbours import Neighbours, read_neighbours
from wced.benchmarks.task import Input, Metric, Task
from wced.contracts import CELL_TYPE
from wced.embedding.files import read_embedding
from wced.errors import WcedError
from wced.files import existing
from wced.stats import Score, missing
from wced.tables import SCORES, checked, read_parquet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One model on one dataset, with what the task's section says that it needs."""

    run: str
    """Name of the run."""
    seed: int
    """Seed of everything random in the task."""
    section: Any
    """The task's section of the config."""
    embedding: AnnData
    """As `wced.embedding.files.read_embedding` returns it: the embedding as X, the dataset's obs, its facts in uns."""
    neighbours: Neighbours | None = None
    """Graph and clusterings of the embedding; for tasks that need `neighbours`."""
    annotation: pd.DataFrame | None = None
    """One row per cell, as `wced annotate` writes it; None also for a model without an ontology head."""
    checkpoint: Path | None = None
    """Folder of the model; of an untrained one that of the checkpoint whose encoder and labels it has."""
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
    """Return the package of a benchmark, which has `TITLE` and `METRICS`."""
    return import_module(f"wced.benchmarks.{task}")


def scorer(task: str) -> Callable[[Job], pd.DataFrame]:
    """Return the function `score` of a benchmark: that of its `score.py`, or its own if it is one file."""
    own = getattr(task_module(task), "score", None)
    return own if callable(own) else import_module(f"wced.benchmarks.{task}.score").score


def read_job(
    run: str,
    seed: int,
    section: Task,
    embedding: str | Path,
    files: Mapping[Input, str | Path | None],
    figures: Path | None = None,
) -> Job:
    """Read the files of a job; `files` are those beside the embedding, by their names in `Job`.

    Not every model has an annotation and a checkpoint. Raises WcedError if another file that the task needs is missing,
    or a file does not exist or is of another embedding.
    """
    for name in ("neighbours", "source", "reference"):
        if name in section.needs and files.get(name) is None:
            raise WcedError(f"{type(section).__name__} needs --{name}")
    cells = read_embedding(embedding)
    readers = {
        "neighbours": lambda path: read_neighbours(path, cells),
        "annotation": lambda path: read_parquet(path, "predicted cell types"),
        "checkpoint": lambda path: existing(path, "the folder of a model"),
        "source": lambda path: existing(path, "a harmonised dataset"),
        "reference": read_embedding,
    }
    contents = {name: readers[name](path) for name, path in files.items() if path is not None}
    return Job(run, seed, section, cells, figures=figures, **contents)


def rows(
    job: Job,
    task: str,
    scores: Mapping[str, Score],
    *,
    protocol: str,
    split: str,
    n: int,
    label: str = CELL_TYPE,
    seed: int | None = None,
) -> pd.DataFrame:
    """Return one row of tables.SCORES for each score of a job; a value that is not finite becomes a reason.

    The other parameters are columns of the table. `n` is for scores that have none of their own, `seed` the job's if it
    is None.
    """
    facts = job.embedding.uns["wced"]
    values = []
    for score in scores.values():
        kept = score if score.reason or np.isfinite(score.value) else missing("the metric is not finite")
        values.append(asdict(kept) | {"n": n if kept.n is None else kept.n})
    table = pd.DataFrame(values).assign(
        run=job.run, task=task, protocol=protocol, split=split, label=label, metric=list(scores),
        seed=job.seed if seed is None else seed,
        **{name: facts[name] for name in ("dataset", "model", "n_params", "width", "source", "leakage")},
    )  # fmt: skip
    return checked(table, SCORES)


@contextmanager
def counted_warnings() -> Iterator[None]:
    """Log how often each kind of warning was raised, instead of each warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for name, times in Counter(warning.category.__name__ for warning in caught).items():
        logger.warning("%s: %d times", name, times)


def unscored(metrics: Iterable[Metric], reason: str) -> dict[str, Score]:
    """Return every metric without a value, for the same reason."""
    return dict.fromkeys((metric.name for metric in metrics), missing(reason))

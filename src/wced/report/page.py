"""The page: one self-contained HTML file that shows what a run did and found."""

import base64
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from wced import tables
from wced.benchmarks import published
from wced.benchmarks.job import task_module
from wced.config import Run
from wced.files import existing
from wced.report.pivots import Pivot, model_table, pivots, sampling_steps


@dataclass(frozen=True)
class Results:
    """What the page is made from: the tables and figures of a run."""

    sources: pd.DataFrame
    """Datasets with role, title and citation, joined with tables.SOURCES_QC."""
    skipped: pd.DataFrame
    """tables.SKIPPED."""
    corpus: pd.DataFrame
    """tables.CORPUS."""
    qc: pd.DataFrame
    """tables.QC."""
    sampling: pd.DataFrame
    """tables.SAMPLING."""
    splits: pd.DataFrame
    """tables.SPLIT."""
    split_exceptions: pd.DataFrame
    """tables.SPLIT_EXCEPTIONS."""
    scores: dict[str, pd.DataFrame]
    """tables.SCORES of each task."""
    learnability: pd.DataFrame
    """tables.LEARNABILITY."""
    learnability_summary: pd.DataFrame
    """tables.LEARNABILITY_SUMMARY."""
    timings: pd.DataFrame
    """tables.TIMINGS."""
    figures: dict[str, bytes]
    """SVG of each figure."""
    ranking: pd.DataFrame
    """tables.RANKING; empty without benchmarks."""
    comparisons: pd.DataFrame
    """tables.COMPARISONS; likewise."""
    comparison_figures: list["TaskFigure"]
    """Figures over all benchmarks."""
    leakage: pd.DataFrame
    """tables.LEAKAGE."""
    published: pd.DataFrame
    """tables.SCORES, what others have published of the benchmarks."""
    task_figures: dict[str, dict[str, list["TaskFigure"]]]
    """Figures of each task, of each dataset that has any, model after model."""


@dataclass(frozen=True)
class TaskFigure:
    """A figure that a benchmark has drawn."""

    of: str
    """Model, or what else it is of."""
    title: str
    """Heading; also the text for who can not see the figure."""
    caption: str
    """What it shows."""
    svg: bytes
    """The figure."""


def umap_figures(run: Run) -> list[tuple[str, str]]:
    """Return dataset and colour of the run's UMAP figures, which are called `umap_<dataset>_<colour>.svg`."""
    return [(dataset, colour) for dataset in run.embedding.datasets for colour in ("cell_type", "batch")]


def read_results(folder: str | Path, run: Run) -> Results:
    """Read everything that the page shows from the folder of a run; raise WcedError naming what is not there."""
    folder = Path(folder)
    names = ["qc", "losses", "genes", *(f"umap_{dataset}_{colour}" for dataset, colour in umap_figures(run))]
    paths = {name: folder / "report" / "figures" / f"{name}.svg" for name in names}
    return Results(
        sources=_sources(folder, run),
        skipped=tables.read(tables.SKIPPED, folder / "tables" / "skipped.tsv"),
        corpus=tables.read(tables.CORPUS, folder / "tables" / "corpus.tsv"),
        qc=tables.read(tables.QC, folder / "tables" / "qc.tsv"),
        sampling=tables.read(tables.SAMPLING, folder / "tables" / "sampling.tsv"),
        splits=tables.read(tables.SPLIT, folder / "tables" / "split.tsv"),
        split_exceptions=tables.read(tables.SPLIT_EXCEPTIONS, folder / "tables" / "split_exceptions.tsv"),
        scores={task: tables.read(tables.SCORES, folder / "tables" / f"{task}.tsv") for task in run.benchmarks.tables},
        learnability=tables.read(tables.LEARNABILITY, folder / "tables" / "learnability.tsv"),
        learnability_summary=tables.read(tables.LEARNABILITY_SUMMARY, folder / "tables" / "learnability_summary.tsv"),
        timings=tables.read(tables.TIMINGS, folder / "tables" / "timings.tsv"),
        figures={name: existing(path, "a figure of the report").read_bytes() for name, path in paths.items()},
        leakage=tables.read(tables.LEAKAGE, folder / "tables" / "leakage.tsv"),
        ranking=_if_any(run, tables.RANKING, folder),
        comparisons=_if_any(run, tables.COMPARISONS, folder),
        comparison_figures=_figures(folder / "benchmarks" / "comparison.figures", "all benchmarks"),
        published=published.scores(published.read(run.report.published)),
        task_figures={task: _task_figures(folder, run, task) for task in run.benchmarks.tasks},
    )


def _if_any(run: Run, table: tables.Table, folder: Path) -> pd.DataFrame:
    """Read a table that is made where there are benchmarks."""
    if not run.benchmarks.tasks:
        return pd.DataFrame(columns=[column.name for column in table.columns])
    return tables.read(table, folder / "tables" / f"{table.name}.tsv")


def _task_figures(folder: Path, run: Run, task: str) -> dict[str, list[TaskFigure]]:
    found = {
        dataset: [
            figure
            for model in run.models_of(task)
            for figure in _figures(folder / "benchmarks" / task / f"{dataset}.{model}.figures", model)
        ]
        for dataset in run.benchmarks.tasks[task].datasets
    }
    return {dataset: figures for dataset, figures in found.items() if figures}


def _figures(folder: Path, of: str) -> list[TaskFigure]:
    """Read the figures of a folder, as `wced.figures.save_figure` writes them."""
    found = []
    for path in sorted(folder.glob("*.svg")):
        said = existing(path.with_suffix(".md"), "the caption of a figure").read_text(encoding="utf-8")
        title, _, caption = said.removeprefix("# ").partition("\n")
        found.append(TaskFigure(of, title, caption.strip(), path.read_bytes()))
    return found


def _sources(folder: Path, run: Run) -> pd.DataFrame:
    import h5py
    from anndata.io import read_elem

    roles = dict.fromkeys(run.census.datasets, "pretraining") | dict.fromkeys(run.embedding.datasets, "held out")
    about = []
    for dataset, role in roles.items():
        with h5py.File(existing(folder / "corpus" / "sources" / f"{dataset}.h5ad", "a harmonised dataset")) as file:
            uns: dict[str, Any] = read_elem(file["uns"])
        about.append({"dataset": dataset, "role": role, "title": uns["title"], "citation": uns["citation"]})
    qc = tables.read(tables.SOURCES_QC, folder / "tables" / "sources_qc.tsv")
    return pd.DataFrame(about).merge(qc, on="dataset", validate="one_to_one")


def render(results: Results, run: Run) -> str:
    """Return the page as HTML that loads nothing.

    Parameters
    ----------
    results
        Tables and figures.
    run
        The config of the run.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "is_number": pd.api.types.is_numeric_dtype, "data_uri": _data_uri}
    here = resources.files("wced.report")
    template = environment.from_string((here / "index.html").read_text())
    return template.render(
        run=run,
        style=(here / "style.css").read_text(),
        sources=results.sources,
        skipped=results.skipped,
        corpus={level: rows.drop(columns="level") for level, rows in results.corpus.groupby("level", sort=False)},
        qc=_largest(results.qc),
        sampling=sampling_steps(results.sampling),
        split=_split(results.corpus),
        splits=results.splits,
        split_exceptions=results.split_exceptions,
        models=model_table(list(results.scores.values())),
        tasks=[
            (task_module(task).TITLE, _pivots(results, run, task), results.task_figures.get(task, {}))
            for task in run.benchmarks.tables
        ],
        ranking=_ranks(results.ranking),
        comparisons=_differences(results.comparisons),
        comparison_figures=results.comparison_figures,
        leakage=results.leakage,
        umaps=[(dataset, colour, f"umap_{dataset}_{colour}") for dataset, colour in umap_figures(run)],
        learnability=results.learnability,
        learnability_summary=results.learnability_summary,
        timings=results.timings,
        figures=results.figures,
        config=yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )


def _largest(qc: pd.DataFrame, most: int = 200) -> pd.DataFrame:
    """Return the rows of QC that removed a cell: of many, those that removed the most."""
    removing = qc[qc["removed"] > 0]
    return removing.loc[removing["removed"].sort_values(ascending=False, kind="stable").index[:most].sort_values()]


def _pivots(results: Results, run: Run, task: str) -> list[Pivot]:
    theirs = results.published[results.published["task"] == task]
    return pivots(results.scores[task], task_module(task).METRICS, run.kind, theirs)


def _headlines(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the metrics that say which model is best, with titles in place of names."""
    shown = []
    for (task, name), rows in frame.groupby(["task", "metric"], sort=False):
        module = task_module(task)
        title = next((metric.title for metric in module.METRICS if metric.name == name and metric.headline), None)
        if title is not None:
            shown.append(rows.assign(benchmark=module.TITLE, metric=title))
    return pd.concat(shown) if shown else frame.assign(benchmark="")


def _ranks(ranking: pd.DataFrame) -> pd.DataFrame:
    """Return the mean ranks over datasets."""
    shown = _headlines(ranking[ranking["dataset"] == "all"])
    return shown[["benchmark", "metric", "model", "datasets", "value", "rank", "rank_sd", "z", "z_sd", "reason"]]


def _differences(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return the differences between models over datasets."""
    columns = [
        "model_a",
        "model_b",
        "datasets",
        "difference",
        "ci_low",
        "ci_high",
        "wins_a",
        "wins_b",
        "p",
        "p_adjusted",
    ]
    return _headlines(comparisons)[["benchmark", "metric", *columns, "test", "p_reason", "reason"]]


def _split(corpus: pd.DataFrame) -> list[str]:
    """Return sentences that say how the corpus was split."""
    datasets = corpus[corpus["level"] == "dataset"]
    train, validation = datasets["train"].sum(), datasets["validation"].sum()
    said = [f"{train:,} cells to train on and {validation:,} to validate on, of {datasets['cells_in'].sum():,}."]
    for unit, rows in datasets.groupby("split_by", sort=False):
        said.append(f"Split by {unit}: {', '.join(rows['dataset'])}.")
    unknown = datasets["unknown_in_validation"].sum()
    said.append(
        f"{unknown:,} validation cells have no cell type, or one that no training cell has: they count as unknown and "
        "enter no cell-type loss or accuracy."
    )
    return said


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _number(value: Any) -> str:
    """Return a value as a table shows it: thousands separated, fractions with three decimals where they are small."""
    if isinstance(value, str | bool):
        return str(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if pd.isna(value):
        return "–"
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"

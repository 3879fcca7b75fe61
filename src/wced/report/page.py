"""The page of a run: one HTML file that shows what the run did and found, and loads nothing from a network."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import yaml

from wced import tables
from wced.benchmarks import published
from wced.benchmarks.job import task_module
from wced.config import Run
from wced.embedding.leakage import ALL
from wced.report import pages, records
from wced.report.figures import COLOURS
from wced.report.pages import Figure, read_figure
from wced.report.pivots import model_table, pivots, pooled, pooling_note, sampling_steps
from wced.report.uses import recommendations

_TABLES = (
    *("skipped", "corpus", "qc", "sampling", "split", "split_exceptions", "leakage"),
    *("learnability", "learnability_summary", "timings"),
)
_OF_BENCHMARKS = ("ranking", "comparisons")
_OF_ABLATION = ("ablation", "ablation_effects")
MOST_QC = 200
"""Most rows of quality control: those that removed the most cells."""
_LEARNED = ("winners", "programs", "dynamics")
"""Figures of the analysis of genes that are shown here too; its own page has all."""


def render(folder: str | Path, run: Run) -> str:
    """Return the page of a run, whose results are in `folder`, as HTML.

    Raises WcedError if a file of the run is missing or damaged. For example::

        Path("index.html").write_text(render("results/demo", wced.config.read("config/demo.yaml")))
    """
    folder = Path(folder)
    index, shards = records.shards(folder)
    outputs, packages, origins = records.provenance(folder)
    names = [*_TABLES, *(_OF_BENCHMARKS if run.benchmarks.tasks else ()), *(_OF_ABLATION if run.ablation else ())]
    frames = {name: tables.read(tables.TABLES[name], folder / "tables" / f"{name}.tsv") for name in names}
    scores = {task: tables.read(tables.SCORES, folder / "tables" / f"{task}.tsv") for task in run.benchmarks.tables}
    sources = records.sources(folder, run)
    others = published.scores(published.read(run.report.published))
    seeds = {name: run.seed if seed is None else seed for name, seed in run.embedding.untrained_models.items()}
    one_row = {task: pooled(rows, seeds) for task, rows in scores.items()}
    benchmarks = []
    for task in run.benchmarks.tables:
        module = task_module(task)
        # Vectors of genes are scored for one seed only, so their scores are no mean.
        notes = {next(iter(seeds)): pooling_note(seeds)} if len(one_row[task]) < len(scores[task]) else {}
        shown = pivots(one_row[task], module.METRICS, run.kind, others[others["task"] == task], notes)
        figures = _of_task(folder, run, task) if task in run.benchmarks.tasks else {}
        benchmarks.append({"task": task, "title": module.TITLE, "pivots": shown, "figures": figures})
    leakage = frames["leakage"][frames["leakage"]["corpus_dataset"] == ALL].set_index("dataset")
    marks = dict.fromkeys(leakage.index[leakage["role"] == "development"], "development")
    marks |= dict.fromkeys(leakage.index[leakage["found"] > 0], "LEAKED")
    qc = frames["qc"][frames["qc"]["removed"] > 0]
    largest = qc["removed"].sort_values(ascending=False, kind="stable").index[:MOST_QC]
    ranking = comparisons = None
    if run.benchmarks.tasks:
        ranks = frames["ranking"]
        columns = ["model", "datasets", "value", "rank", "rank_sd", "z", "z_sd"]
        ranking = _headlines(ranks[ranks["dataset"] == "all"], columns)
        columns = ["model_a", "model_b", "datasets", "difference", "ci_low", "ci_high", "wins_a", "wins_b", "p"]
        comparisons = _headlines(frames["comparisons"], [*columns, "p_adjusted", "test", "p_reason"])
    return pages.render(
        "index.html",
        run=run,
        uses=recommendations(one_row, run, marks),
        tables=frames,
        sources=sources,
        corpus={level: rows.drop(columns="level") for level, rows in frames["corpus"].groupby("level", sort=False)},
        qc=qc.loc[largest.sort_values()],
        sampling=sampling_steps(frames["sampling"]),
        shard_index=index,
        shards=shards,
        checkpoints=records.checkpoints(folder, run),
        deep=[name for name, checkpoint in run.pretraining.checkpoints.items() if checkpoint.depth],
        models=model_table(list(scores.values())).rename(columns={"n_params": "parameters", "dataset": "datasets"}),
        benchmarks=benchmarks,
        ranking=ranking,
        comparisons=comparisons,
        seeds=seeds,
        figures=_figures(folder, run),
        outputs=outputs,
        packages=packages,
        origins=origins,
        missing=records.missing_scores(scores),
        config=yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )


def _figures(folder: Path, run: Run) -> dict[str, list[Figure]]:
    """Return the figures of each stage."""
    own, learned = folder / "report" / "figures", folder / "learnability" / "figures"
    umaps = [f"umap_{dataset}_{colour}" for dataset in run.embedding.datasets for colour in COLOURS]
    paths = {
        "corpus": [own / "qc"],
        "pretraining": [own / "losses"],
        "embedding": [own / name for name in umaps],
        "learnability": [own / "genes", *(learned / name for name in _LEARNED)],
        "comparisons": _figures_in(folder / "benchmarks" / "comparison.figures"),
        "ablation": _figures_in(folder / "ablation") if run.ablation else [],
    }
    return {stage: [_read(folder, path) for path in listed] for stage, listed in paths.items()}


def _of_task(folder: Path, run: Run, task: str) -> dict[str, list[Figure]]:
    """Return the figures of each dataset that has any, model after model."""
    figures = {
        dataset: [
            _read(folder, path, model)
            for model in run.models_of(task)
            for path in _figures_in(folder / "benchmarks" / task / f"{dataset}.{model}.figures")
        ]
        for dataset in run.benchmarks.tasks[task].datasets
    }
    return {dataset: listed for dataset, listed in figures.items() if listed}


def _figures_in(folder: Path) -> Iterator[Path]:
    return (path.with_suffix("") for path in sorted(folder.glob("*.svg")))


def _read(folder: Path, path: Path, model: str = "") -> Figure:
    """Read a figure; its links start at the page, in `report`."""
    return read_figure(path, f"../{path.relative_to(folder).as_posix()}", model)


def _headlines(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the rows of headline metrics, with the titles of benchmarks and metrics."""
    parts = []
    for (task, name), rows in frame.groupby(["task", "metric"], sort=False):
        module = task_module(task)
        titles = [metric.title for metric in module.METRICS if metric.name == name and metric.headline]
        parts += [rows.assign(benchmark=module.TITLE, metric=title) for title in titles]
    rows = pd.concat(parts) if parts else frame.assign(benchmark="")
    return rows[["benchmark", "metric", *columns, "reason"]]

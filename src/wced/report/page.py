"""The page: one HTML file that shows what a run did and found, and loads nothing from a network."""

from dataclasses import dataclass

import pandas as pd
import yaml

from wced.benchmarks.job import task_module
from wced.config import Run
from wced.embedding.leakage import ALL
from wced.report import pages
from wced.report.pages import Drawing
from wced.report.pivots import Pivot, model_table, pivots, sampling_steps
from wced.report.pooling import pooled, pooling_note
from wced.report.records import missing_scores
from wced.report.results import Results
from wced.report.uses import recommendations


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as the page shows it."""

    task: str
    """Its key in the config, and the name of its table."""
    title: str
    """Heading."""
    pivots: list[Pivot]
    """Its tables."""
    drawings: dict[str, list[Drawing]]
    """Figures of each dataset."""


def render(results: Results, run: Run) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    results
        Tables and figures.
    run
        The config of the run.
    """
    benchmarks = [_benchmark(results, run, task) for task in run.benchmarks.tables]
    made = results.tables
    return pages.render(
        "wced.report",
        "index.html",
        run=run,
        contents=_contents(benchmarks, run),
        facts=_facts(results, run),
        uses=_uses(results, run),
        tables=made,
        sources=results.sources,
        corpus={level: rows.drop(columns="level") for level, rows in made["corpus"].groupby("level", sort=False)},
        qc=_largest(made["qc"]),
        sampling=sampling_steps(made["sampling"]),
        split=_split(made["corpus"]),
        shard_index=results.shard_index,
        shards=results.shards,
        checkpoints=results.checkpoints,
        deep=[name for name, trained in run.pretraining.checkpoints.items() if trained.depth],
        models=model_table(list(results.scores.values())),
        benchmarks=benchmarks,
        ranking=_ranks(made["ranking"]) if run.benchmarks.tasks else None,
        comparisons=_differences(made["comparisons"]) if run.benchmarks.tasks else None,
        seeds=run.embedding.untrained_models,
        drawings=results.drawings,
        outputs=results.outputs,
        packages=results.packages,
        origins=results.origins,
        missing=missing_scores(results.scores),
        config=yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )


def _benchmark(results: Results, run: Run, task: str) -> Benchmark:
    module, theirs = task_module(task), results.published[results.published["task"] == task]
    seeds, scores = _seeds(run), results.scores[task]
    pooled_scores = pooled(scores, seeds)
    # Of vectors of genes one draw is scored only: that is no mean.
    notes = {next(iter(seeds)): pooling_note(seeds)} if len(pooled_scores) < len(scores) else {}
    shown = pivots(pooled_scores, module.METRICS, run.kind, theirs, notes)
    return Benchmark(task, module.TITLE, shown, results.task_drawings.get(task, {}))


def _seeds(run: Run) -> dict[str, int]:
    """Return the seed of each untrained model."""
    return {name: run.seed if seed is None else seed for name, seed in run.embedding.untrained_models.items()}


def _contents(benchmarks: list[Benchmark], run: Run) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return place and name of each section, and of what stands below it."""
    below = [(f"benchmark-{pages.slug(shown.task)}", shown.title) for shown in benchmarks]
    compared = [("comparisons", "Comparisons", [])] if run.benchmarks.tasks else []
    ablation = [("ablation", "Ablation", [])] if run.ablation else []
    return [
        ("summary", "At a glance", []),
        ("corpus", "Corpus", [("qc", "Quality control"), ("split", "Split")]),
        ("shards", "Shards", []),
        ("pretraining", "Pretraining", []),
        ("embedding", "Embedding", [("leakage", "Leakage"), ("umaps", "UMAPs")]),
        ("benchmarks", "Benchmarks", below),
        *compared,
        *ablation,
        ("learnability", "Gene learnability", []),
        ("timings", "Timings", []),
        ("provenance", "Provenance", []),
        ("skipped", "What was skipped", []),
        ("config", "Config", []),
    ]


def _facts(results: Results, run: Run) -> list[tuple[str, int | str]]:
    """Return the numbers that say how big the run was."""
    datasets = results.tables["corpus"].query("level == 'dataset'")
    hours = results.tables["timings"]["seconds"].sum() / 3600
    return [
        ("cells trained on", int(datasets["train"].sum())),
        ("validation cells", int(datasets["validation"].sum())),
        ("datasets of the corpus", len(datasets)),
        ("genes of the vocabulary", int(results.shard_index["vocabulary_size"])),
        ("checkpoints", len(run.pretraining.checkpoints)),
        ("datasets scored", len(run.embedding.datasets)),
        ("embeddings compared", len(run.models)),
        ("benchmarks", len(run.benchmarks.tables)),
        ("hours of all jobs", f"{hours:,.1f}"),
    ]


def _uses(results: Results, run: Run) -> dict[str, list[str]]:
    """Return what to say of each use; a run without tasks has no scores of it."""
    leakage, seeds = results.tables["leakage"], _seeds(run)
    whole = leakage[leakage["corpus_dataset"] == ALL].set_index("dataset")
    marks = dict.fromkeys(whole.index[whole["role"] == "development"], "development")
    marks |= dict.fromkeys(whole.index[whole["found"] > 0], "LEAKED")
    return recommendations({task: pooled(results.scores[task], seeds) for task in run.benchmarks.tasks}, run, marks)


def _largest(qc: pd.DataFrame, most: int = 200) -> pd.DataFrame:
    """Return the rows of QC that removed a cell: of many, those that removed the most."""
    removing = qc[qc["removed"] > 0]
    return removing.loc[removing["removed"].sort_values(ascending=False, kind="stable").index[:most].sort_values()]


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
    columns = ["model_a", "model_b", "datasets", "difference", "ci_low", "ci_high", "wins_a", "wins_b", "p"]
    return _headlines(comparisons)[["benchmark", "metric", *columns, "p_adjusted", "test", "p_reason", "reason"]]


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

"""The command that compares checkpoints that differ in stated factors."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config import section as read_section
from wced.config.ablation import Ablation


def register(app: typer.Typer) -> None:
    """Add the command `ablation`."""
    app.command()(ablation)


def ablation(
    scores: Annotated[list[Path], typer.Argument(help="Tables of scores of the benchmarks.")],
    pretrained: Annotated[list[Path], typer.Option(help="Folder of each checkpoint, as pretraining wrote it.")],
    section: Annotated[str, typer.Option("--section", help="Section of the config, as JSON.")],
    output: Annotated[Path, typer.Option(help="Table of the checkpoints' scores to write.")],
    effects: Annotated[Path, typer.Option(help="Table of what each factor does to write.")],
    figures: Annotated[Path, typer.Option(help="Folder to write the figure to.")],
    run: Annotated[str, typer.Option("--run", help="Name of the run.")],
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
) -> None:
    """Compare checkpoints that differ in stated factors: reconstruction beside downstream scores, with paired tests."""
    typed = read_section(Ablation, section)
    from importlib import import_module

    import pandas as pd

    from wced import tables
    from wced.benchmarks import ablation as ablations
    from wced.benchmarks.ablation_figures import dots
    from wced.files import whole_folder
    from wced.provenance import recorded

    inputs = {str(path): path for path in scores}
    inputs |= {str(folder): folder / "metrics.tsv" for folder in pretrained}
    given = {"section": typed.model_dump(), "inputs": inputs, "seed": seed, "also": [effects, figures]}
    with recorded(output, command="ablation", **given):
        errors = ablations.reconstruction(pretrained, run=run, seed=seed, min_nonzero=typed.min_nonzero)
        chosen = ablations.chosen(pd.concat([errors, tables.read(tables.SCORES, scores)], ignore_index=True), typed)
        found = ablations.table(chosen, typed)
        tables.write(found, tables.ABLATION, output)
        tables.write(ablations.effects(chosen, typed), tables.ABLATION_EFFECTS, effects)
        titles = {("ablation", "median_rescaled_mae"): "Rescaled MAE"}
        for task, metrics in typed.metrics.items():
            of = {metric.name: metric.title for metric in import_module(f"wced.benchmarks.{task}").METRICS}
            titles |= {(task, metric): of[metric] for metric in metrics}
        with whole_folder(figures) as folder:
            dots(folder, found, titles)

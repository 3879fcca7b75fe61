"""The command that compares models over all tables of scores."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command `compare`."""
    app.command()(compare)


def compare(
    scores: Annotated[list[Path], typer.Argument(help="Tables of scores of one run.")],
    differences: Annotated[Path, typer.Option(help="Table of paired differences between models to write.")],
    ranking: Annotated[Path, typer.Option(help="Table of ranks and z-scores to write.")],
    figures: Annotated[Path, typer.Option(help="Folder to write figures into.")],
):
    """Compare the models over datasets: paired differences, ranks, z-scores and their figures."""
    from wced import tables
    from wced.benchmarks import comparison
    from wced.benchmarks.comparison_figures import write_figures
    from wced.files import whole_folder
    from wced.provenance import recorded

    inputs = {str(i): path for i, path in enumerate(scores)}
    with recorded(ranking, command="compare", section={}, inputs=inputs, also=[differences, figures]):
        every = tables.read(tables.SCORES, scores)
        tables.write(comparison.differences(every), tables.COMPARISONS, differences)
        ranked = comparison.ranking(every)
        tables.write(ranked, tables.RANKING, ranking)
        with whole_folder(figures) as folder:
            write_figures(ranked, folder)

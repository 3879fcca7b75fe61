"""Commands of the room `report`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config import Run
from wced.config import section as read_section
from wced.config.report import Report


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(umap)
    app.command()(figures)
    app.command()(timings)
    app.command()(report)


def umap(
    embeddings: Annotated[list[Path], typer.Argument(help="Embeddings of one dataset (h5ad), in order.")],
    section: Annotated[str, typer.Option("--section", help="Section of the config, as JSON.")],
    seed: Annotated[int, typer.Option(help="Seed.")],
    output: Annotated[Path, typer.Option(help="Table of coordinates to write (Parquet).")],
):
    """Lay out the embeddings of a dataset in two dimensions."""
    typed = read_section(Report, section)
    from wced import tables
    from wced.provenance import recorded
    from wced.report.umap import umaps

    inputs = {str(i): path for i, path in enumerate(embeddings)}
    with recorded(output, command="umap", section=typed.model_dump(), inputs=inputs):
        tables.write(umaps(embeddings, typed.umap_neighbours, seed), tables.UMAP, output)


def figures(
    umaps: Annotated[list[Path], typer.Option("--umap", help="Coordinates of a dataset (Parquet); repeatable.")],
    metrics: Annotated[list[Path], typer.Option(help="Training metrics of a checkpoint; repeatable.")],
    gene_errors: Annotated[Path, typer.Option(help="Gene errors of the last epochs.")],
    qc: Annotated[Path, typer.Option(help="Table of the rules of quality control.")],
    qc_histograms: Annotated[Path, typer.Option(help="Distributions of the metrics of quality control.")],
    min_nonzero: Annotated[int, typer.Option(help="Validation cells that must express a gene that is shown.")],
    output: Annotated[Path, typer.Option(help="Folder to write the figures into (SVG).")],
):
    """Draw the figures of the report."""
    from wced import tables
    from wced.figures import save
    from wced.provenance import recorded
    from wced.report.figures import gene_figure, loss_figure, qc_figure, umap_figure

    given = [*umaps, *metrics, gene_errors, qc, qc_histograms]
    inputs = {str(i): path for i, path in enumerate(given)}
    with recorded(output, command="figures", section={"min_nonzero": min_nonzero}, inputs=inputs):
        for path in umaps:
            coordinates = tables.read(tables.UMAP, path)
            models = list(dict.fromkeys(coordinates["model"]))
            dataset = coordinates["dataset"].iloc[0]
            for colour in ("cell_type", "batch"):
                save(umap_figure(coordinates, colour, models), output / f"umap_{dataset}_{colour}.svg")
        losses = tables.read(tables.METRICS, metrics)
        checkpoints = list(dict.fromkeys(losses["checkpoint"]))
        save(loss_figure(losses, checkpoints), output / "losses.svg")
        errors = tables.read(tables.GENE_ERRORS, gene_errors)
        save(gene_figure(errors, checkpoints, min_nonzero), output / "genes.svg")
        histograms = tables.read(tables.QC_HISTOGRAMS, qc_histograms)
        save(qc_figure(histograms, tables.read(tables.QC, qc)), output / "qc.svg")


def timings(
    folder: Annotated[Path, typer.Option(help="Folder of Snakemake's benchmark files: <rule>/<wildcards>.tsv.")],
    output: Annotated[Path, typer.Option(help="Table to write.")],
):
    """Gather how long each job took."""
    from wced import tables
    from wced.provenance import recorded
    from wced.report.timings import timings as gathered

    with recorded(output, command="timings", section={}, inputs={"folder": folder}):
        tables.write(gathered(folder), tables.TIMINGS, output)


def report(
    folder: Annotated[Path, typer.Option(help="Folder of the run: results/<run>.")],
    section: Annotated[str, typer.Option("--section", help="The whole config, as JSON.")],
    output: Annotated[Path, typer.Option(help="Page to write (HTML).")],
):
    """Write the page that shows a run."""
    run = read_section(Run, section)
    from wced.files import whole_file
    from wced.provenance import recorded
    from wced.report.page import read_results, render

    with recorded(output, command="report", section=run.model_dump(mode="json"), inputs={"folder": folder}):
        page = render(read_results(folder, run), run)
        with whole_file(output) as temporary:
            temporary.write_text(page, encoding="utf-8")

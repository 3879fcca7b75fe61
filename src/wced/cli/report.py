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
    with recorded(output, command="umap", section=typed.model_dump(), inputs=inputs, seed=seed):
        tables.write(umaps(embeddings, typed.umap_neighbours, seed), tables.UMAP, output)


def figures(
    umaps: Annotated[list[Path], typer.Option("--umap", help="Coordinates of a dataset (Parquet); repeatable.")],
    metrics: Annotated[list[Path], typer.Option(help="Training metrics of a checkpoint; repeatable.")],
    gene_errors: Annotated[Path, typer.Option(help="Gene errors of the last epochs.")],
    qc: Annotated[Path, typer.Option(help="Table of the rules of quality control.")],
    qc_histograms: Annotated[Path, typer.Option(help="Distributions of the metrics of quality control.")],
    min_nonzero: Annotated[int, typer.Option(help="Validation cells that must express a gene that is shown.")],
    section: Annotated[str, typer.Option("--section", help="Section of the config, as JSON.")],
    output: Annotated[Path, typer.Option(help="Folder of figures to make.")],
):
    """Draw the figures of the report: each as SVG and PDF, with its caption and the numbers behind it."""
    typed = read_section(Report, section)
    from wced import tables
    from wced.files import whole_folder
    from wced.provenance import recorded
    from wced.report.figures import draw_genes, draw_losses, draw_qc, draw_umaps

    given = [*umaps, *metrics, gene_errors, qc, qc_histograms]
    inputs = {str(i): path for i, path in enumerate(given)}
    facts = {"min_nonzero": min_nonzero, "umap_neighbours": typed.umap_neighbours}
    with recorded(output, command="figures", section=facts, inputs=inputs), whole_folder(output) as folder:
        for path in umaps:
            draw_umaps(tables.read(tables.UMAP, path), typed.umap_neighbours, folder)
        losses = tables.read(tables.METRICS, metrics)
        draw_losses(losses, folder)
        checkpoints = list(dict.fromkeys(losses["checkpoint"]))
        draw_genes(tables.read(tables.GENE_ERRORS, gene_errors), checkpoints, min_nonzero, folder)
        draw_qc(tables.read(tables.QC_HISTOGRAMS, qc_histograms), tables.read(tables.QC, qc), folder)


def timings(
    folder: Annotated[Path, typer.Option(help="Folder of the run: results/<run>.")],
    output: Annotated[Path, typer.Option(help="Table to write.")],
):
    """Gather how long each job took and what it took of processor and memory, from the records beside its outputs."""
    from wced import tables
    from wced.files import existing
    from wced.provenance import recorded
    from wced.report.timings import timings as gathered

    with recorded(output, command="timings", section={}, inputs={"folder": folder}):
        tables.write(gathered(existing(folder, "the folder of a run")), tables.TIMINGS, output)


def report(
    folder: Annotated[Path, typer.Option(help="Folder of the run: results/<run>.")],
    section: Annotated[str, typer.Option("--section", help="The whole config, as JSON.")],
    output: Annotated[Path, typer.Option(help="Page to write (HTML).")],
):
    """Write the page that shows a run."""
    run = read_section(Run, section)
    from wced.files import whole_file
    from wced.provenance import recorded
    from wced.report.page import render
    from wced.report.results import read_results

    made = [*sorted(folder.glob("tables/*.tsv")), folder / "shards" / "index.json"]
    made += [folder / "report" / "figures", folder / "learnability" / "figures"]
    inputs = {str(path.relative_to(folder)): path for path in made}
    with recorded(output, command="report", section=run.model_dump(mode="json"), inputs=inputs, seed=run.seed):
        page = render(read_results(folder, run), run)
        with whole_file(output) as temporary:
            temporary.write_text(page, encoding="utf-8")

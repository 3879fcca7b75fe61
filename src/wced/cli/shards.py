"""Commands of the room `shards`."""

import json
from pathlib import Path
from typing import Annotated

from wced.cli.corpus import GeneTable
from wced.cli.frame import Input, Option, Output, command, record
from wced.config.corpus import Census, Shards
from wced.errors import WcedError

SelectedCells = Annotated[Path, Input("Selected cells (Parquet).")]
VocabularyFile = Annotated[Path, Input("vocabulary.tsv, with labels.json and measured.arrow beside it.")]
Collection = Annotated[str | None, Input("Folder of the local collection; none for a remote Census.")]


@command
def vocabulary(
    genes: GeneTable,
    cells: SelectedCells,
    census: Census,
    output: Annotated[Path, Output("vocabulary.tsv to write, with labels.json and measured.arrow beside it.")],
    collection: Collection = None,
    section: Shards = "{}",
    seed: Annotated[int, Option("Seed of the cells that the gene filter reads.")] = 0,
) -> None:
    """Choose the genes and label classes of a run, and record which genes each dataset measured."""
    import pandas as pd

    from wced import genes as gene_tables
    from wced import tables
    from wced.corpus.cells import read_cells
    from wced.corpus.census import measured_genes, open_census
    from wced.shards.gene_filter import filtered
    from wced.shards.vocabulary import make_labels, make_perturbations, make_vocabulary, write_measured

    beside = ["labels.json", "measured.arrow", *(["gene_filter.tsv"] if section.genes.active else [])]
    options = {"census": census.model_dump(), "shards": section.model_dump(exclude={"count", "batch_cells"})}
    with record(section=options | {"seed": seed}, outputs=[output, *map(output.with_name, beside)]) as facts:
        chosen, table = read_cells(cells), gene_tables.read(genes)
        dataset_ids = sorted(chosen["dataset_id"].astype(str).unique())
        output.with_name("gene_filter.tsv").unlink(missing_ok=True)  # of an earlier run whose filter was on
        with open_census(census, collection) as handle:
            feature_ids, measured = measured_genes(handle, census.organism, dataset_ids, census)
            vocabulary = make_vocabulary(table, feature_ids[measured.any(axis=0)])
            if section.genes.active:
                column = pd.Index(feature_ids).get_indexer(vocabulary.gene_ids)
                experiment = handle["census_data"][census.organism]
                vocabulary, reasons = filtered(
                    experiment, chosen, vocabulary, measured[:, column], dataset_ids, section.genes, seed, census
                )
                tables.write(reasons, tables.GENE_FILTER, output.with_name("gene_filter.tsv"))
                facts["genes_removed"] = int((~reasons["kept"]).sum())
                print(f"gene filter: {facts['genes_removed']} of {len(reasons)} genes removed")
        perturbations = None
        if section.perturbed_column is not None:
            names = gene_tables.gene_names(table)
            perturbations = make_perturbations(chosen, section.perturbed_column, vocabulary, names)
            facts["perturbations"], facts["unmarked_genes"] = len(perturbations.genes), len(perturbations.unmarked)
            print(f"perturbations: {facts['perturbations']}; genes outside the vocabulary: {facts['unmarked_genes']}")
        labels = make_labels(chosen, section.label_columns, section.number_columns, perturbations)
        column = pd.Index(feature_ids).get_indexer(vocabulary.gene_ids)
        write_measured(output.with_name("measured.arrow"), dataset_ids, measured[:, column])
        labels.write(output.with_name("labels.json"))
        vocabulary.write(output)
        facts["genes"] = len(vocabulary)
        facts["classes"] = {name: len(classes) for name, classes in labels.classes.items()}
        print(f"vocabulary: {len(vocabulary)} genes; classes: {facts['classes']}")


@command
def shard(
    cells: SelectedCells,
    vocabulary: VocabularyFile,
    census: Census,
    section: Shards,
    number: Annotated[int, Option("Which shard, from 0.", min=0)],
    output: Annotated[Path, Output("File to write.")],
    collection: Collection = None,
) -> None:
    """Write one shard: a contiguous run of the selected cells."""
    from wced import resources
    from wced.corpus.cells import read_cells
    from wced.corpus.census import open_census
    from wced.shards.vocabulary import Labels, Vocabulary, read_measured
    from wced.shards.write import VOCABULARY_FILES, inputs_sha256, shard_bounds, write_shard

    inputs = {"cells": cells, "vocabulary": vocabulary, "collection": collection}
    with record(inputs=inputs | {name: vocabulary.with_name(name) for name in VOCABULARY_FILES[1:]}) as facts:
        if number >= section.count:
            raise WcedError(f"--number {number}: shards.count is {section.count}, and the first shard is 0")
        bounds = shard_bounds(read_cells(cells, columns=["nnz"])["nnz"].to_numpy(), section.count)
        chosen = read_cells(cells, *bounds[number : number + 2].tolist())
        resources.check(resources.shard(len(chosen), int(chosen["nnz"].sum())), output.parent)
        dataset_ids, _ = read_measured(vocabulary.with_name("measured.arrow"))
        with open_census(census, collection) as handle:
            write_shard(
                output,
                handle["census_data"][census.organism],
                chosen,
                Vocabulary.read(vocabulary),
                Labels.read(vocabulary.with_name("labels.json")),
                dataset_ids,
                batch_cells=section.batch_cells,
                number=number,
                count=section.count,
                inputs=inputs_sha256(cells, vocabulary),
                section=census,
            )
        facts["cells"] = len(chosen)
        print(f"shard {number}: {len(chosen)} cells")


@command
def shard_index(
    shards: Annotated[list[Path], Input("Shards in order.")],
    /,
    cells: Annotated[Path, Input("Selected cells (Parquet) that the shards were made from.")],
    vocabulary: VocabularyFile,
    output: Annotated[Path, Output("File to write (index.json).")],
) -> None:
    """Check all shards and write their index, with their checksums."""
    from wced.shards.write import write_index

    inputs = {"cells": cells, "vocabulary": vocabulary}
    with record(inputs=inputs):
        write_index(output, shards, cells, vocabulary)
        rows = json.loads(output.read_text())["shards"]
        for path, row in zip(shards, rows, strict=True):
            inputs[path.name] = {"path": str(path), "sha256": row["sha256"]}

"""Commands of the room `shards`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config.corpus import Census, Shards
from wced.config.run import section as read_section

CensusSection = Annotated[str, typer.Option(help="Config section `census` as JSON.")]
Collection = Annotated[str | None, typer.Option(help="Folder of the local collection; none for a remote Census.")]


def register(app: typer.Typer) -> None:
    """Add the commands `vocabulary`, `shard` and `shard-index`."""
    app.command()(vocabulary)
    app.command()(shard)
    app.command("shard-index")(shard_index)


def vocabulary(
    genes: Annotated[Path, typer.Option(help="Gene table (Parquet).")],
    cells: Annotated[Path, typer.Option(help="Selected cells (Parquet).")],
    census: CensusSection,
    output: Annotated[Path, typer.Option(help="Where vocabulary.tsv goes; labels.json and measured.arrow beside it.")],
    collection: Collection = None,
    section: Annotated[
        str,
        typer.Option(
            help="Config section `shards` as JSON: its columns, and `genes`; where that removes genes, gene_filter.tsv "
            "says why."
        ),
    ] = "{}",
    seed: Annotated[int, typer.Option(help="Seed of the cells that the gene filter looks at.")] = 0,
) -> None:
    """Choose the genes and label classes of a run, and record which genes each dataset measured."""
    import pandas as pd

    from wced import genes as gene_tables
    from wced import tables
    from wced.corpus.cells import read_cells
    from wced.corpus.census import measured_genes, open_census
    from wced.provenance import recorded
    from wced.shards.gene_filter import filtered
    from wced.shards.perturbations import make_perturbations
    from wced.shards.vocabulary import make_labels, make_vocabulary, write_measured

    where, settings = read_section(Census, census), read_section(Shards, section)
    inputs = {"genes": genes, "cells": cells, **({} if collection is None else {"collection": collection})}
    beside = ["labels.json", "measured.arrow", *(["gene_filter.tsv"] if settings.genes.active else [])]
    given = {
        "census": where.model_dump(),
        "shards": settings.model_dump(exclude={"count", "batch_cells"}),
        "seed": seed,
    }
    also = [output.with_name(name) for name in beside]
    with recorded(output, command="vocabulary", section=given, inputs=inputs, seed=seed, also=also) as facts:
        chosen, table = read_cells(cells), gene_tables.read(genes)
        dataset_ids = sorted(chosen["dataset_id"].astype(str).unique())
        (output.parent / "gene_filter.tsv").unlink(missing_ok=True)  # of an earlier run whose filter was on
        with open_census(where, collection) as handle:
            feature_ids, measured = measured_genes(handle, where.organism, dataset_ids, where)
            made = make_vocabulary(table, feature_ids[measured.any(axis=0)])
            if settings.genes.active:
                column = pd.Index(feature_ids).get_indexer(made.gene_ids)
                experiment = handle["census_data"][where.organism]
                made, judged = filtered(
                    experiment, chosen, made, measured[:, column], dataset_ids, settings.genes, seed, where
                )
                tables.write(judged, tables.GENE_FILTER, output.parent / "gene_filter.tsv")
                facts["genes_removed"] = int((~judged["kept"]).sum())
                print(f"gene filter: {facts['genes_removed']} of {len(judged)} genes removed")
        perturbations = None
        if settings.perturbed_column is not None:
            perturbations = make_perturbations(chosen, settings.perturbed_column, made, gene_tables.gene_names(table))
            facts["perturbations"], facts["unmarked_genes"] = len(perturbations.genes), len(perturbations.unmarked)
            print(f"perturbations: {facts['perturbations']}; genes outside the vocabulary: {facts['unmarked_genes']}")
        labels = make_labels(chosen, settings.label_columns, settings.number_columns, perturbations)
        column = pd.Index(feature_ids).get_indexer(made.gene_ids)
        write_measured(output.parent / "measured.arrow", dataset_ids, measured[:, column])
        labels.write(output.parent / "labels.json")
        made.write(output)
        facts["genes"] = len(made)
        facts["classes"] = {name: len(classes) for name, classes in labels.classes.items()}
        print(f"vocabulary: {len(made)} genes; classes: {facts['classes']}")


def shard(
    cells: Annotated[Path, typer.Option(help="Selected cells (Parquet).")],
    vocabulary: Annotated[Path, typer.Option(help="vocabulary.tsv, with labels.json and measured.arrow beside it.")],
    census: CensusSection,
    section: Annotated[str, typer.Option(help="Config section `shards` as JSON.")],
    number: Annotated[int, typer.Option(min=0, help="Which shard, from 0.")],
    output: Annotated[Path, typer.Option(help="File to write.")],
    collection: Collection = None,
) -> None:
    """Write one shard: a contiguous run of the selected cells."""
    from wced import resources
    from wced.corpus.cells import read_cells
    from wced.corpus.census import open_census
    from wced.errors import WcedError
    from wced.provenance import recorded
    from wced.shards.vocabulary import Labels, Vocabulary, read_measured
    from wced.shards.write import VOCABULARY_FILES, inputs_sha256, shard_bounds, write_shard

    settings, where = read_section(Shards, section), read_section(Census, census)
    inputs = {"cells": cells, "vocabulary": vocabulary, **({} if collection is None else {"collection": collection})}
    inputs |= {name: vocabulary.with_name(name) for name in VOCABULARY_FILES[1:]}
    with recorded(output, command="shard", section=settings.model_dump(), inputs=inputs) as facts:
        if number >= settings.count:
            raise WcedError(f"--number {number}: shards.count is {settings.count}, and the first shard is 0")
        bounds = shard_bounds(read_cells(cells, columns=["nnz"])["nnz"].to_numpy(), settings.count)
        chosen = read_cells(cells, *bounds[number : number + 2].tolist())
        resources.check(resources.shard(len(chosen), int(chosen["nnz"].sum())), output.parent)
        dataset_ids, _ = read_measured(vocabulary.parent / "measured.arrow")
        with open_census(where, collection) as census_handle:
            write_shard(
                output,
                census_handle["census_data"][where.organism],
                chosen,
                Vocabulary.read(vocabulary),
                Labels.read(vocabulary.parent / "labels.json"),
                dataset_ids,
                batch_cells=settings.batch_cells,
                number=number,
                count=settings.count,
                inputs=inputs_sha256(cells, vocabulary),
                section=where,
            )
        facts["cells"] = len(chosen)
        print(f"shard {number}: {len(chosen)} cells")


def shard_index(
    shards: Annotated[list[Path], typer.Argument(help="Shards in order.")],
    cells: Annotated[Path, typer.Option(help="Selected cells (Parquet) that the shards were made from.")],
    vocabulary: Annotated[Path, typer.Option(help="vocabulary.tsv, with labels.json and measured.arrow beside it.")],
    output: Annotated[Path, typer.Option(help="File to write (index.json).")],
) -> None:
    """Check all shards and write the index that opens them, with their checksums."""
    import json

    from wced.provenance import Hashed, recorded
    from wced.shards.write import write_index

    inputs = {"cells": cells, "vocabulary": vocabulary}
    with recorded(output, command="shard-index", section={}, inputs=inputs):
        write_index(output, shards, cells, vocabulary)
        rows = json.loads(output.read_text())["shards"]
        inputs |= {path.name: Hashed(path, row["sha256"]) for path, row in zip(shards, rows, strict=True)}

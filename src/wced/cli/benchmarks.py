"""Commands of the room `benchmarks`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config import section as read_section
from wced.config.benchmarks import Benchmarks

Embedding = Annotated[Path, typer.Option(help="Embedding of a dataset by a model (h5ad).")]
Seed = Annotated[int, typer.Option(help="Seed.")]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(neighbours)
    app.command()(score)


def neighbours(
    embedding: Embedding,
    count: Annotated[int, typer.Option(min=2, help="Nearest neighbours of a cell, itself among them.")],
    seed: Annotated[int, typer.Option(help="First seed of the clusterings.")],
    output: Annotated[Path, typer.Option(help="Graph and clusterings to write (npz).")],
    cluster_seeds: Annotated[int, typer.Option(min=1, help="How many seeds to cluster with.")] = 5,
):
    """Make the neighbour graph of an embedding and its Leiden clusterings, which the benchmarks share."""
    from wced.benchmarks.neighbours import neighbours_of, write_neighbours
    from wced.embedding.files import read_embedding
    from wced.provenance import recorded

    section = {"count": count, "seed": seed, "cluster_seeds": cluster_seeds}
    with recorded(output, command="neighbours", section=section, inputs={"embedding": embedding}, seed=seed):
        write_neighbours(output, neighbours_of(read_embedding(embedding), count, seed, cluster_seeds))


def score(
    task: Annotated[str, typer.Argument(help="Benchmark: a key of the config's section `benchmarks`.")],
    embedding: Embedding,
    section: Annotated[str, typer.Option("--section", help="The benchmark's section of the config, as JSON.")],
    run: Annotated[str, typer.Option(help="Name of the run.")],
    seed: Seed,
    output: Annotated[Path, typer.Option(help="Table of scores to write.")],
    neighbours: Annotated[Path | None, typer.Option(help="Graph and clusterings of the embedding (npz).")] = None,
    annotation: Annotated[
        Path | None, typer.Option(help="Predicted cell types (Parquet); none for a model without an ontology head.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder of the model; none for a baseline that has none.")
    ] = None,
    source: Annotated[Path | None, typer.Option(help="The harmonised dataset, raw counts (h5ad).")] = None,
    reference: Annotated[Path | None, typer.Option(help="Embedding of the dataset that is trained on (h5ad).")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder to write figures into; none are drawn without it.")
    ] = None,
):
    """Score a model's embedding of a dataset by a benchmark."""
    typed = read_section(Benchmarks.kind(task), section)
    from wced import tables
    from wced.benchmarks.job import read_job, task_module
    from wced.files import whole_folder
    from wced.provenance import recorded

    files = {"neighbours": neighbours, "annotation": annotation, "checkpoint": checkpoint, "source": source}
    given = {name: path for name, path in {**files, "reference": reference}.items() if path is not None}
    module = task_module(task)
    given = {"embedding": embedding, **given}
    also = [] if figures is None else [figures]
    section = typed.model_dump(mode="json")
    with recorded(output, command=f"score {task}", section=section, inputs=given, seed=seed, also=also):
        if figures is None:
            scores = module.score(read_job(run, seed, typed, **given))
        else:
            with whole_folder(figures) as folder:
                scores = module.score(read_job(run, seed, typed, **given, figures=folder))
        tables.write(scores, tables.SCORES, output)

"""Commands of the room `benchmarks`, and the one that joins the tables of several jobs."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from wced.benchmarks.gene_level import GeneLevel
from wced.cli.frame import Input, Option, Output, command, record
from wced.config.ablation import Ablation
from wced.config.benchmarks import Benchmarks
from wced.config.run import section as read_section
from wced.errors import WcedError
from wced.files import whole_folder

EmbeddingFile = Annotated[Path, Input("Embedding of a dataset by a model (h5ad).")]
Checkpoints = Annotated[list[Path], Input("Folder of each checkpoint, as pretraining wrote it.")]
RunName = Annotated[str, Option("Name of the run.")]
Scores = Annotated[Path, Output("Table of scores to write.")]


@command
def neighbours(
    embedding: EmbeddingFile,
    count: Annotated[int, Option("Nearest neighbours of a cell, itself among them.", min=2)],
    seed: Annotated[int, Option("First seed of the clusterings.")],
    output: Annotated[Path, Output("Graph and clusterings to write (npz).")],
    cluster_seeds: Annotated[int, Option("How many seeds to cluster with.", min=1)] = 5,
) -> None:
    """Make the neighbour graph of an embedding and its Leiden clusterings, which the benchmarks share."""
    from wced.benchmarks.neighbours import neighbours_of, write_neighbours
    from wced.embedding.files import read_embedding

    with record():
        write_neighbours(output, neighbours_of(read_embedding(embedding), count, seed, cluster_seeds))


@command
def score(
    task: Annotated[str, Option("Benchmark: a key of the config's section `benchmarks`.")],
    /,
    embedding: EmbeddingFile,
    section: Annotated[str, Option("The benchmark's section of the config, as JSON.")],
    run: RunName,
    seed: Annotated[int, Option("Seed.")],
    output: Scores,
    neighbours: Annotated[Path | None, Input("Graph and clusterings of the embedding (npz).")] = None,
    annotation: Annotated[Path | None, Input("Predicted cell types (Parquet); none without an ontology head.")] = None,
    checkpoint: Annotated[Path | None, Input("Folder of the model; none for a baseline that has none.")] = None,
    source: Annotated[Path | None, Input("The harmonised dataset, raw counts (h5ad).")] = None,
    reference: Annotated[Path | None, Input("Embedding of the dataset that is trained on (h5ad).")] = None,
    figures: Annotated[Path | None, Output("Folder to write figures into; none without it.")] = None,
) -> None:
    """Score a model's embedding of a dataset by a benchmark."""
    typed = read_section(Benchmarks.kind(task), section)

    from wced import tables
    from wced.benchmarks.job import read_job, scorer

    files = {"neighbours": neighbours, "annotation": annotation, "checkpoint": checkpoint, "source": source}
    files["reference"] = reference
    with record(command=f"score {task}", section=typed.model_dump(mode="json")):
        with nullcontext() if figures is None else whole_folder(figures) as folder:
            scores = scorer(task)(read_job(run, seed, typed, embedding, files, folder))
        tables.write(scores, tables.SCORES, output)


@command
def compare(
    scores: Annotated[list[Path], Input("Tables of scores of one run.")],
    /,
    differences: Annotated[Path, Output("Table of paired differences between models to write.")],
    ranking: Annotated[Path, Output("Table of ranks and z-scores to write.")],
    figures: Annotated[Path, Output("Folder to write figures into.")],
) -> None:
    """Compare the models over datasets: paired differences, ranks, z-scores and their figures."""
    from wced import tables
    from wced.benchmarks.comparison import statistics
    from wced.benchmarks.comparison.figures import write_figures

    with record(outputs=[ranking, differences, figures]):
        every = tables.read(tables.SCORES, scores)
        tables.write(statistics.differences(every), tables.COMPARISONS, differences)
        ranked = statistics.ranking(every)
        tables.write(ranked, tables.RANKING, ranking)
        with whole_folder(figures) as folder:
            write_figures(ranked, folder)


@command
def ablation(
    scores: Annotated[list[Path], Input("Tables of scores of the benchmarks.")],
    /,
    pretrained: Checkpoints,
    section: Annotated[Ablation, Option("Section of the config, as JSON.")],
    output: Annotated[Path, Output("Table of the checkpoints' scores to write.")],
    effects: Annotated[Path, Output("Table of what each factor does to write.")],
    figures: Annotated[Path, Output("Folder to write the figure to.")],
    run: RunName,
    seed: Annotated[int, Option("Seed of the run.")] = 0,
) -> None:
    """Compare checkpoints that differ in stated factors: reconstruction beside downstream scores, with paired tests."""
    import pandas as pd

    from wced import tables
    from wced.benchmarks.ablation import score
    from wced.benchmarks.ablation.figures import dots

    inputs = {str(path): path for path in scores} | {str(folder): folder / "metrics.tsv" for folder in pretrained}
    with record(inputs=inputs):
        errors = score.reconstruction(pretrained, run=run, seed=seed, min_nonzero=section.min_nonzero)
        chosen = score.chosen(pd.concat([errors, tables.read(tables.SCORES, scores)], ignore_index=True), section)
        table = score.table(chosen, section)
        tables.write(table, tables.ABLATION, output)
        tables.write(score.effects(chosen, section), tables.ABLATION_EFFECTS, effects)
        with whole_folder(figures) as folder:
            dots(folder, table, section.metrics)


@command
def gene_embeddings(
    pretrained: Checkpoints,
    /,
    shards: Annotated[Path, Input("Folder of the shards that they were trained on.")],
    components: Annotated[Path, Input("Principal components of the corpus (npz).")],
    annotation: Annotated[Path, Input("Annotation of genes (Parquet).")],
    output: Annotated[Path, Output("Folder to make, with an h5ad for each model: genes × dimensions.")],
    step_0: Annotated[list[Path] | None, Input("Which of these folders to read at step 0, too; repeatable.")] = None,
    seed: Annotated[int, Option("Seed of untrained and random vectors.")] = 0,
) -> None:
    """Export the gene embeddings of checkpoints, beside untrained and random ones, and PCA of co-expression."""
    from wced import tables
    from wced.checkpoint import load
    from wced.embedding.baselines.corpus_pca import Components
    from wced.embedding.gene_vectors import write_all
    from wced.shards.reader import ShardSet

    models = {folder.name: folder / "model" for folder in pretrained}
    starts = {f"{folder.name}_step_0": folder / "step_0" for folder in step_0 or []}
    inputs = {str(folder): folder / "model.safetensors" for folder in [*models.values(), *starts.values()]}
    inputs |= {"index": shards / "index.json", "components": components, "annotation": annotation}
    with record(inputs=inputs):
        trained, initial = ({name: load(folder) for name, folder in of.items()} for of in (models, starts))
        genes = tables.read(tables.GENE_ANNOTATION, annotation)
        with whole_folder(output) as folder:
            names = write_all(folder, trained, initial, Components.read(components), ShardSet(shards), genes, seed)
        print(f"vectors of genes: {', '.join(names)}")


@command
def score_genes(
    embeddings: Annotated[list[Path], Input("Vectors of genes of each model (h5ad).")],
    /,
    section: Annotated[GeneLevel, Option("Section of the config, as JSON.")],
    run: RunName,
    output: Scores,
    seed: Annotated[int, Option("Seed of folds and bootstraps.")] = 0,
) -> None:
    """Score how far specificity and function of genes can be read from their vectors."""
    import pandas as pd

    from wced import tables
    from wced.benchmarks.gene_level.score import score
    from wced.benchmarks.job import Job
    from wced.embedding.files import read_embedding

    with record(inputs={str(path): path for path in embeddings}):
        parts = [score(Job(run, seed, section, read_embedding(path))) for path in embeddings]
        tables.write(pd.concat(parts, ignore_index=True), tables.SCORES, output)


@command
def gather(
    parts: Annotated[list[Path], Input("Tables, in the order of the rows.")],
    /,
    schema: Annotated[str, Option("Their schema, a name of wced.tables such as scores.")],
    output: Annotated[Path, Output("Table to write.")],
) -> None:
    """Join tables of one schema into one."""
    from wced import tables

    if schema not in tables.TABLES:
        raise WcedError(f"--schema {schema}: no such table; there are {', '.join(tables.TABLES)}")
    table = tables.TABLES[schema]
    with record():
        tables.write(tables.read(table, parts), table, output)

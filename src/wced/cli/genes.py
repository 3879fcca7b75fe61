"""Commands about vectors of genes."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config import section as read_section
from wced.config.benchmarks.gene_level import GeneLevel


def register(app: typer.Typer) -> None:
    """Add the commands `gene-embeddings` and `score-genes`."""
    app.command()(gene_embeddings)
    app.command()(score_genes)


def gene_embeddings(
    pretrained: Annotated[list[Path], typer.Argument(help="Folder of each checkpoint, as pretraining wrote it.")],
    shards: Annotated[Path, typer.Option(help="Folder of the shards that they were trained on.")],
    components: Annotated[Path, typer.Option(help="Principal components of the corpus (npz).")],
    annotation: Annotated[Path, typer.Option(help="Annotation of genes (Parquet).")],
    output: Annotated[Path, typer.Option(help="Folder to make, with an h5ad for each model: genes × dimensions.")],
    step_0: Annotated[
        list[Path] | None, typer.Option("--step-0", help="Which of these folders to read at step 0, too; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of untrained and random vectors.")] = 0,
) -> None:
    """Export the gene embeddings of checkpoints, beside untrained and random ones, and PCA of co-expression."""
    from wced import tables
    from wced.embedding.corpus_pca import Components
    from wced.embedding.gene_vectors import write_all
    from wced.files import whole_folder
    from wced.pretraining.folder import load
    from wced.provenance import recorded
    from wced.shards.reader import ShardSet

    places = {folder.name: folder / "model" for folder in pretrained}
    starts = {f"{folder.name}_step_0": folder / "step_0" for folder in step_0 or []}
    inputs = {str(place): place / "model.safetensors" for place in [*places.values(), *starts.values()]}
    inputs |= {"index": shards / "index.json", "components": components, "annotation": annotation}
    with recorded(output, command="gene-embeddings", section={"seed": seed}, inputs=inputs, seed=seed):
        loaded, begun = ({name: load(place) for name, place in of.items()} for of in (places, starts))
        genes = tables.read(tables.GENE_ANNOTATION, annotation)
        with whole_folder(output) as folder:
            names = write_all(folder, loaded, begun, Components.read(components), ShardSet(shards), genes, seed)
        print(f"vectors of genes: {', '.join(names)}")


def score_genes(
    embeddings: Annotated[list[Path], typer.Argument(help="Vectors of genes of each model (h5ad).")],
    section: Annotated[str, typer.Option("--section", help="Section of the config, as JSON.")],
    run: Annotated[str, typer.Option("--run", help="Name of the run.")],
    output: Annotated[Path, typer.Option(help="Table of scores to write.")],
    seed: Annotated[int, typer.Option(help="Seed of folds and bootstraps.")] = 0,
) -> None:
    """Score how far specificity and function of genes can be read from their vectors."""
    typed = read_section(GeneLevel, section)
    import pandas as pd

    from wced import tables
    from wced.benchmarks.gene_level import score
    from wced.embedding.files import read_embedding
    from wced.provenance import recorded

    inputs = {str(path): path for path in embeddings}
    with recorded(output, command="score-genes", section=typed.model_dump(), inputs=inputs, seed=seed):
        parts = [score(read_embedding(path), typed, run=run, seed=seed) for path in embeddings]
        tables.write(pd.concat(parts, ignore_index=True), tables.SCORES, output)

"""Commands of the room `benchmarks`."""

from pathlib import Path
from typing import Annotated

import typer

from wced.config import section as read_section
from wced.config.benchmarks import Annotation, Classification, Integration

Embedding = Annotated[Path, typer.Option(help="Embedding of a dataset by a model (h5ad).")]
Section = Annotated[str, typer.Option("--section", help="Section of the config, as JSON.")]
RunName = Annotated[str, typer.Option("--run", help="Name of the run.")]
Seed = Annotated[int, typer.Option(help="Seed.")]
Output = Annotated[Path, typer.Option(help="Table of scores to write.")]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(score_zero_shot_integration)
    app.command()(score_cell_type_classification)
    app.command()(score_zero_shot_annotation)


def score_zero_shot_integration(embedding: Embedding, section: Section, run: RunName, seed: Seed, output: Output):
    """Score how an embedding keeps cell types apart and mixes batches (scib-metrics)."""
    typed = read_section(Integration, section)
    from wced import tables
    from wced.benchmarks.zero_shot_integration import TASK, score
    from wced.embedding.files import read_embedding
    from wced.provenance import recorded

    with recorded(output, command=f"score-{TASK}", section=typed.model_dump(), inputs={"embedding": embedding}):
        tables.write(score(read_embedding(embedding), typed, run=run, seed=seed), tables.SCORES, output)


def score_cell_type_classification(embedding: Embedding, section: Section, run: RunName, seed: Seed, output: Output):
    """Score what simple classifiers read from a frozen embedding (cz-benchmarks)."""
    typed = read_section(Classification, section)
    from wced import tables
    from wced.benchmarks.cell_type_classification import TASK, score
    from wced.embedding.files import read_embedding
    from wced.provenance import recorded

    with recorded(output, command=f"score-{TASK}", section=typed.model_dump(), inputs={"embedding": embedding}):
        tables.write(score(read_embedding(embedding), typed, run=run, seed=seed), tables.SCORES, output)


def score_zero_shot_annotation(
    embedding: Embedding,
    section: Section,
    run: RunName,
    seed: Seed,
    output: Output,
    annotation: Annotated[
        Path | None, typer.Option(help="Predicted cell types (Parquet); none for a model without an ontology head.")
    ] = None,
    ontology: Annotated[
        Path | None, typer.Option(help="The ontology of the checkpoint that predicted them (its ontology.json).")
    ] = None,
):
    """Score the cell types that a checkpoint's ontology head predicts."""
    typed = read_section(Annotation, section)
    import json

    import pandas as pd

    from wced import tables
    from wced.benchmarks.zero_shot_annotation import TASK, score
    from wced.embedding.files import read_embedding
    from wced.errors import WcedError
    from wced.ontology import OntologyCut, load
    from wced.provenance import recorded

    if (annotation is None) != (ontology is None):
        raise WcedError("--annotation and --ontology are given together or not at all")
    inputs = {"embedding": embedding, "annotation": annotation, "ontology": ontology}
    given = {name: path for name, path in inputs.items() if path is not None}
    with recorded(output, command=f"score-{TASK}", section=typed.model_dump(), inputs=given):
        frame = score(
            read_embedding(embedding),
            run=run,
            seed=seed,
            ontology=load(),
            annotation=None if annotation is None else pd.read_parquet(annotation),
            cut=None if ontology is None else OntologyCut.from_json(json.loads(ontology.read_text())),
        )
        tables.write(frame, tables.SCORES, output)

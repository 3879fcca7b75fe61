"""Commands of the room `embedding`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from wced.config.embedding import Embedding
from wced.config.run import section as read_section

Input = Annotated[Path, typer.Option("--input", help="h5ad with raw counts of human cells.")]
CheckpointName = Annotated[
    str, typer.Option("--checkpoint", help="Folder of a checkpoint's model, or owner/name on the Hugging Face hub.")
]
Layer = Annotated[str | None, typer.Option(help="Layer that holds the raw counts, if not X.")]
UseRaw = Annotated[bool, typer.Option("--raw", help="Take counts and genes from raw.")]
GeneColumn = Annotated[
    str | None, typer.Option(help="Column of var with Ensembl ids or symbols; var_names or a usual column without it.")
]
MinGeneShare = Annotated[float, typer.Option(min=0, max=1, help="Smallest share of the model's genes to be found.")]
Untrained = Annotated[bool, typer.Option("--untrained", help="Use fresh weights instead of the checkpoint's.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Most cells at once; the result does not depend on it.")]
Seed = Annotated[int, typer.Option(help="Seed of fresh weights.")]
Output = Annotated[Path, typer.Option(help="h5ad to write: the embedding as X, obs as it was.")]
Model = Annotated[str, typer.Option(help="Name of the model in the tables.")]
Dataset = Annotated[str, typer.Option(help="Name of the dataset in the tables.")]


def register(app: typer.Typer) -> None:
    """Add the commands `embed`, `annotate`, `attribute`, `embed-baseline` and `concat`."""
    app.command()(embed)
    app.command()(annotate)
    app.command()(attribute)
    app.command("embed-baseline")(embed_baseline)
    app.command()(concat)


@contextmanager
def _opened(
    command: str, input: Path, checkpoint: str, output: Path, where: dict[str, Any], options: dict[str, Any]
) -> Iterator[Any]:
    """Give obs and cells of a file, the model, and the facts that go into the provenance of `output`.

    `where` says where counts and genes stand, for `read_cells`; both it and `options` are recorded.
    """
    from wced import h5ad
    from wced.embedding.inference import untrained
    from wced.embedding.inputs import read_cells
    from wced.errors import WcedError
    from wced.pretraining.folder import found, load
    from wced.provenance import recorded

    folder = found(checkpoint)
    inputs = {"input": input, "weights": folder / "model.safetensors", "config": folder / "config.json"}
    section = {"checkpoint": checkpoint, **where, **options}
    with recorded(output, command=command, section=section, inputs=inputs) as facts:
        adata, loaded = h5ad.read(input, backed="r"), load(folder)
        loaded = untrained(loaded, options["seed"]) if options.get("untrained") else loaded
        try:
            cells = read_cells(adata, loaded, **where)
        except WcedError as error:
            raise WcedError(f"{input}: {error}") from None
        print(cells.summary)
        facts["input"] = cells.facts
        yield adata.obs, cells, loaded, facts


def embed(
    input: Input,
    checkpoint: CheckpointName,
    output: Output,
    pooling: Annotated[
        list[str],
        typer.Option(help="cls, cls:2 (any CLS position), mean or head:COLUMN; given several times, side by side."),
    ] = ["cls"],  # noqa: B006
    model: Model = "checkpoint",
    dataset: Dataset = "input",
    leakage: Annotated[str, typer.Option(help="What is known of the model having seen these cells.")] = "not checked",
    layer: Layer = None,
    raw: UseRaw = False,
    gene_column: GeneColumn = None,
    min_gene_share: MinGeneShare = 0.1,
    untrained: Untrained = False,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
) -> None:
    """Embed the cells of an h5ad with a checkpoint."""
    where = {"layer": layer, "use_raw": raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    options = {"pooling": pooling, "untrained": untrained, "batch_size": batch_size, "seed": seed}
    with _opened("embed", input, checkpoint, output, where, options) as (obs, cells, loaded, facts):
        from wced.embedding import inference
        from wced.embedding.files import write_embedding
        from wced.embedding.pooling import Pooling

        pooled = Pooling(pooling, loaded.model)
        embedding = inference.embed(cells, loaded, pooling=pooled, batch_size=batch_size)
        facts["padded_share"] = inference.padded_share(cells, loaded.model, batch_size)
        write_embedding(
            output, embedding, obs, model=model, dataset=dataset, n_params=pooled.n_params, leakage=leakage,
            pooling=pooled.name, input=cells.facts,
        )  # fmt: skip
        print(f"{model}: {embedding.shape[0]} cells × {embedding.shape[1]}; {facts['padded_share']:.1%} padding")


def annotate(
    input: Input,
    checkpoint: CheckpointName,
    output: Annotated[
        Path, typer.Option(help="Parquet to write: cell, predicted_term, probability, predicted_label, lineage.")
    ],
    column: Annotated[
        str | None, typer.Option(help="Label column of the head; that over the Cell Ontology without it.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="leaf_argmax, or greedy: from the root always the most probable child.")
    ] = "leaf_argmax",
    layer: Layer = None,
    raw: UseRaw = False,
    gene_column: GeneColumn = None,
    min_gene_share: MinGeneShare = 0.1,
    untrained: Untrained = False,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
) -> None:
    """Predict the cell types, or other labels, of an h5ad with a checkpoint's label heads."""
    where = {"layer": layer, "use_raw": raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    options = {
        "column": column, "method": method, "untrained": untrained, "batch_size": batch_size, "seed": seed,
    }  # fmt: skip
    with _opened("annotate", input, checkpoint, output, where, options) as (obs, cells, loaded, _):
        from wced.embedding import annotation
        from wced.files import whole_file

        frame = annotation.annotate(cells, obs.index, loaded, column=column, method=method, batch_size=batch_size)
        with whole_file(output) as path:
            frame.to_parquet(path, index=False)
        if "predicted_term" in frame:
            print(f"{len(frame)} cells of {frame['predicted_term'].nunique()} kinds")


def attribute(
    input: Input,
    checkpoint: CheckpointName,
    output: Annotated[Path, typer.Option(help="Table to write, TSV or Parquet: a row per gene.")],
    target: Annotated[
        str,
        typer.Option(help="COLUMN=CLASS of a label head, COLUMN of a number, detection=GENE or value=GENE."),
    ],
    steps: Annotated[int, typer.Option(min=1, help="Points between baseline and cell.")] = 64,
    layer: Layer = None,
    raw: UseRaw = False,
    gene_column: GeneColumn = None,
    min_gene_share: MinGeneShare = 0.1,
    batch_size: BatchSize = 64,
) -> None:
    """Say which genes drive an output of a checkpoint, by integrated gradients, as means over the cells of an h5ad."""
    where = {"layer": layer, "use_raw": raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    options = {"target": target, "steps": steps, "batch_size": batch_size}
    with _opened("attribute", input, checkpoint, output, where, options) as (_, cells, loaded, facts):
        from wced import tables
        from wced.embedding import attribution

        frame, found = attribution.attribute(cells, loaded, target, steps=steps, batch_size=batch_size)
        facts.update(found)
        tables.write(frame, tables.ATTRIBUTIONS, output)
        print(
            f"{target}: {len(frame)} genes; completeness error {found['completeness_error_mean']:.2g} in the mean, "
            f"{found['completeness_error_max']:.2g} at most, of the mean change"
        )


def embed_baseline(
    input: Input,
    output: Output,
    section: Annotated[str, typer.Option(help="Config section `embedding` as JSON.")],
    model: Annotated[str, typer.Option(help="hvg or pca.")],
    dataset: Dataset = "input",
    seed: Annotated[int, typer.Option(help="Seed of the principal components.")] = 0,
) -> None:
    """Embed the cells of an h5ad by a simple baseline."""
    from wced import h5ad
    from wced.embedding import baselines
    from wced.embedding.files import write_embedding
    from wced.errors import WcedError
    from wced.provenance import recorded

    settings = read_section(Embedding, section)
    with recorded(output, command="embed-baseline", section=settings.model_dump(), inputs={"input": input}):
        adata = h5ad.read(input)
        if model == "hvg":
            embedding = baselines.hvg(adata, settings.n_top_genes)
        elif model == "pca":
            embedding = baselines.pca(adata, settings.n_top_genes, settings.n_components, seed)
        else:
            raise WcedError(f"--model {model}: a baseline is hvg or pca")
        write_embedding(
            output, embedding, adata.obs, model=model, dataset=dataset, n_params=0, leakage=baselines.LEAKAGE
        )


def concat(
    parts: Annotated[list[Path], typer.Argument(help="Embeddings of the same cells.")],
    output: Output,
    model: Model = "concat",
) -> None:
    """Join embeddings of the same cells side by side."""
    from wced.embedding.files import concatenate
    from wced.provenance import recorded

    with recorded(output, command="concat", section={"model": model}, inputs={str(part): part for part in parts}):
        concatenate(output, parts, model=model)

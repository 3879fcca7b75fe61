"""Commands of the room `embedding`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from wced.config.evaluation import Embedding
from wced.config.run import section as read_section

Input = Annotated[Path, typer.Option("--input", help="h5ad with raw counts as X and Ensembl ids as var_names.")]
Checkpoint = Annotated[Path, typer.Option("--checkpoint", help="Folder of a checkpoint's model.")]
Untrained = Annotated[bool, typer.Option("--untrained", help="Use fresh weights instead of the checkpoint's.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Cells at once; the result does not depend on it.")]
Seed = Annotated[int, typer.Option(help="Seed of fresh weights.")]
Output = Annotated[Path, typer.Option(help="h5ad to write: the embedding as X, obs as it was.")]
Model = Annotated[str, typer.Option(help="Name of the model in the tables.")]
Dataset = Annotated[str, typer.Option(help="Name of the dataset in the tables.")]


def register(app: typer.Typer) -> None:
    """Add the commands `embed`, `annotate`, `embed-baseline` and `concat`."""
    app.command()(embed)
    app.command()(annotate)
    app.command("embed-baseline")(embed_baseline)
    app.command()(concat)


def _embedded(input: Path, checkpoint: Path, untrained: bool, batch_size: int, seed: int) -> tuple[Any, Any, Any]:
    """Return the cells of a file, the model, and what stands at its CLS positions."""
    from wced import h5ad
    from wced.embedding import inference
    from wced.errors import WcedError
    from wced.pretraining.folder import load

    adata, loaded = h5ad.read(input), load(checkpoint)
    loaded = inference.untrained(loaded, seed) if untrained else loaded
    try:
        return adata, loaded, inference.embed(adata, loaded, batch_size=batch_size)
    except WcedError as error:
        raise WcedError(f"{input}: {error}") from None


def _inputs(input: Path, checkpoint: Path) -> dict[str, Path]:
    return {"input": input, "weights": checkpoint / "model.safetensors", "config": checkpoint / "config.json"}


def embed(
    input: Input,
    checkpoint: Checkpoint,
    output: Output,
    model: Model = "checkpoint",
    dataset: Dataset = "input",
    leakage: Annotated[str, typer.Option(help="What is known of the model having seen these cells.")] = "not checked",
    untrained: Untrained = False,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
) -> None:
    """Embed the cells of an h5ad with a checkpoint."""
    from wced.embedding.files import write_embedding
    from wced.provenance import recorded

    options = {"model": model, "dataset": dataset, "untrained": untrained, "batch_size": batch_size, "seed": seed}
    with recorded(output, command="embed", section=options, inputs=_inputs(input, checkpoint)):
        adata, loaded, cls_nkd = _embedded(input, checkpoint, untrained, batch_size, seed)
        embedding, n_params = cls_nkd[:, 0], loaded.model.encoder_parameters
        write_embedding(output, embedding, adata.obs, model=model, dataset=dataset, n_params=n_params, leakage=leakage)
        print(f"{model}: {embedding.shape[0]} cells × {embedding.shape[1]}")


def annotate(
    input: Input,
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(help="Parquet to write: cell, predicted_term, probability.")],
    untrained: Untrained = False,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
) -> None:
    """Predict the cell types of an h5ad with a checkpoint's ontology head."""
    from wced.embedding import inference
    from wced.files import whole_file
    from wced.provenance import recorded

    options = {"untrained": untrained, "batch_size": batch_size, "seed": seed}
    with recorded(output, command="annotate", section=options, inputs=_inputs(input, checkpoint)):
        adata, loaded, cls_nkd = _embedded(input, checkpoint, untrained, batch_size, seed)
        frame = inference.annotate(cls_nkd, adata.obs_names, loaded)
        with whole_file(output) as path:
            frame.to_parquet(path, index=False)
        print(f"{len(frame)} cells of {frame['predicted_term'].nunique()} types")


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

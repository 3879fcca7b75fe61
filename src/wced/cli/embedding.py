"""Commands of the room `embedding`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from wced.config.corpus import Census
from wced.config.embedding import Embedding, External
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
Leakage = Annotated[str, typer.Option(help="What is known of the model having seen these cells.")]
LeakageTable = Annotated[
    Path | None, typer.Option(help="Table of `wced leakage`, which says so, instead of --leakage.")
]
Shards = Annotated[Path, typer.Option(help="Folder of the shards, with index.json.")]


def register(app: typer.Typer) -> None:
    """Add the commands of embeddings, and those that look for leaked cells."""
    app.command()(joinids)
    app.command()(leakage)
    app.command()(embed)
    app.command()(annotate)
    app.command()(attribute)
    app.command("fit-corpus-pca")(fit_corpus_pca)
    app.command("embed-baseline")(embed_baseline)
    app.command("embed-external")(embed_external)
    app.command()(concat)


@contextmanager
def _opened(
    command: str, input: Path, checkpoint: str, output: Path, where: dict[str, Any], options: dict[str, Any],
    leakage: Path | None = None,
) -> Iterator[Any]:  # fmt: skip
    """Give obs and cells of a file, the model, and the facts that go into the provenance of `output`.

    `where` says where counts and genes stand, for `read_cells`; both it and `options` are recorded, and the table of
    leakage as an input where there is one.
    """
    from wced import h5ad
    from wced.embedding.inference import untrained
    from wced.embedding.inputs import read_cells
    from wced.errors import WcedError
    from wced.model.cpu import keep_freed_memory
    from wced.pretraining.folder import found, load
    from wced.provenance import recorded

    keep_freed_memory()
    folder = found(checkpoint)
    inputs = {"input": input, "weights": folder / "model.safetensors", "config": folder / "config.json"}
    inputs |= {} if leakage is None else {"leakage": leakage}
    section = {"checkpoint": checkpoint, **where, **options}
    with recorded(output, command=command, section=section, inputs=inputs, seed=options.get("seed")) as facts:
        adata, loaded = h5ad.read(input, backed="r"), load(folder)
        loaded = untrained(loaded, options["seed"]) if options.get("untrained") else loaded
        try:
            cells = read_cells(adata, loaded, **where)
        except WcedError as error:
            raise WcedError(f"{input}: {error}") from None
        print(cells.summary)
        facts["input"] = cells.facts
        yield adata.obs, cells, loaded, facts


def joinids(
    cells: Annotated[Path, typer.Option(help="Selected cells (Parquet).")],
    census: Annotated[str, typer.Option(help="Config section `census` as JSON.")],
    output: Annotated[Path, typer.Option(help="File to write (Parquet): soma_joinid, observation_joinid.")],
    collection: Annotated[Path | None, typer.Option(help="Local collection; none for a remote Census.")] = None,
) -> None:
    """Read the ids in CELLxGENE of the cells of a run."""
    from wced.corpus.cells import read_cells
    from wced.corpus.census import open_census
    from wced.corpus.joinids import write_joinids
    from wced.provenance import recorded

    where = read_section(Census, census)
    inputs = {"cells": cells, **({} if collection is None else {"collection": collection})}
    with recorded(output, command="joinids", section=where.model_dump(), inputs=inputs):
        chosen = read_cells(cells, columns=["soma_joinid"])["soma_joinid"].to_numpy()
        with open_census(where, collection) as handle:
            write_joinids(handle, where, chosen, output)


def leakage(
    input: Annotated[Path, typer.Option("--input", help="Harmonised dataset (h5ad).")],
    shards: Shards,
    joinids: Annotated[Path, typer.Option(help="What `wced joinids` wrote of the same cells.")],
    dataset: Annotated[str, typer.Option(help="Name of the dataset in the tables.")],
    output: Annotated[Path, typer.Option(help="Table to write (TSV).")],
    role: Annotated[str, typer.Option(help="development, if recipes were chosen by its scores.")] = "held_out",
) -> None:
    """Look for the cells of a dataset among those that the models of a run are trained and validated on."""
    from wced import tables
    from wced.embedding.leakage import find, in_words
    from wced.provenance import recorded
    from wced.shards.reader import ShardSet

    inputs = {"input": input, "shards": shards / "index.json", "joinids": joinids}
    with recorded(output, command="leakage", section={"dataset": dataset}, inputs=inputs):
        found = find(input, dataset, ShardSet(shards), joinids, role=role)
        tables.write(found, tables.LEAKAGE, output)
        print(f"{dataset}: {in_words(found)}")


def _words(leakage: str, table: Path | None) -> str:
    """Return what is known of leakage, from the table where there is one."""
    if table is None:
        return leakage
    from wced import tables
    from wced.embedding.leakage import in_words

    return in_words(tables.read(tables.LEAKAGE, table))


def embed(
    input: Input,
    checkpoint: CheckpointName,
    output: Output,
    pooling: Annotated[
        list[str] | None,
        typer.Option(
            help="cls, cls:2 (any CLS position), mean or head:COLUMN; @BLOCK behind one of the first three reads it "
            "after that block, -batch subtracts the mean of the cell's batch; given several times, side by side. "
            "Without it: the checkpoint's own."
        ),
    ] = None,
    model: Model = "checkpoint",
    dataset: Dataset = "input",
    leakage: Leakage = "not checked",
    leakage_table: LeakageTable = None,
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
    with _opened("embed", input, checkpoint, output, where, options, leakage_table) as (obs, cells, loaded, facts):
        from wced.embedding import inference
        from wced.embedding.files import write_embedding
        from wced.embedding.pooling import Pooling

        pooled = Pooling(pooling or None, loaded.model)
        facts["pooling"] = pooled.name
        embedding = inference.embed(cells, loaded, pooling=pooled, batch_size=batch_size, obs=obs)
        facts["padded_share"] = inference.padded_share(cells, loaded.model, batch_size)
        write_embedding(
            output, embedding, obs, model=model, dataset=dataset, n_params=pooled.n_params,
            leakage=pooled.leakage(_words(leakage, leakage_table)), pooling=pooled.name, input=cells.facts,
        )  # fmt: skip
        said = f"read from {pooled.name}, {facts['padded_share']:.1%} padding"
        print(f"{model}: {embedding.shape[0]} cells × {embedding.shape[1]}; {said}")


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
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write the probability of every leaf, too.")
    ] = False,
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
        "column": column, "method": method, "probabilities": probabilities, "untrained": untrained,
        "batch_size": batch_size, "seed": seed,
    }  # fmt: skip
    with _opened("annotate", input, checkpoint, output, where, options) as (obs, cells, loaded, _):
        from wced.embedding import annotation
        from wced.files import whole_file

        frame = annotation.annotate(
            cells, obs.index, loaded, column=column, method=method, probabilities=probabilities, batch_size=batch_size
        )
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


def fit_corpus_pca(
    shards: Shards,
    section: Annotated[str, typer.Option(help="Config section `embedding` as JSON.")],
    output: Annotated[Path, typer.Option(help="Principal components to write (npz).")],
    seed: Annotated[int, typer.Option(help="Seed of the draw of cells and of the iteration.")] = 0,
) -> None:
    """Find the principal components of the training cells of a corpus, for the baseline `corpus_pca`."""
    from wced.embedding.corpus_pca import fit
    from wced.provenance import recorded
    from wced.shards.reader import ShardSet

    settings = read_section(Embedding, section)
    inputs = {"shards": shards / "index.json"}
    with recorded(output, command="fit-corpus-pca", section=settings.model_dump(), inputs=inputs, seed=seed):
        fit(ShardSet(shards), settings.n_components, settings.corpus_pca_cells, seed).write(output)


def embed_baseline(
    input: Input,
    output: Output,
    section: Annotated[str, typer.Option(help="Config section `embedding` as JSON.")],
    model: Annotated[str, typer.Option(help="Name of the baseline.")],
    dataset: Dataset = "input",
    corpus: Annotated[Path | None, typer.Option(help="Components of `wced fit-corpus-pca`, for corpus_pca.")] = None,
    leakage_table: LeakageTable = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
) -> None:
    """Embed the cells of an h5ad by a simple baseline."""
    from anndata import AnnData
    from scipy import sparse

    from wced import h5ad
    from wced.corpus.reading import of_anndata
    from wced.embedding.baselines import BASELINES, Cells
    from wced.embedding.files import write_embedding
    from wced.errors import WcedError
    from wced.provenance import recorded

    settings = read_section(Embedding, section)
    if model not in BASELINES:
        raise WcedError(f"--model {model}: a baseline is one of {', '.join(BASELINES)}")
    given = {"input": input, "corpus": corpus, "leakage": leakage_table}
    inputs = {name: path for name, path in given.items() if path is not None}
    with recorded(output, command="embed-baseline", section=settings.model_dump(), inputs=inputs, seed=seed):
        try:
            counts = of_anndata(h5ad.read(input))
            x_ng = sparse.vstack(list(counts.counts()), format="csr")
        except WcedError as error:
            raise WcedError(f"{input}: {error}") from None
        adata = AnnData(x_ng, counts.obs, counts.var)
        made = BASELINES[model](Cells(adata, settings, seed, corpus))
        write_embedding(
            output, made.embedding_nd, adata.obs, model=model, dataset=dataset, n_params=made.n_params,
            leakage=_words("not checked", leakage_table) if made.leakage is None else made.leakage,
            space=made.space,
        )  # fmt: skip
        n, width = made.embedding_nd.shape
        print(f"{model}: {n} cells × {width}; {made.leakage or 'fitted on the corpus'}")


def embed_external(
    input: Annotated[Path, typer.Option("--input", help="Harmonised dataset (h5ad), whose cells these must be.")],
    output: Output,
    section: Annotated[str, typer.Option(help="Config section of this model in `embedding.external`, as JSON.")],
    model: Annotated[str, typer.Option(help="Name of the model in the tables.")],
    dataset: Dataset = "input",
) -> None:
    """Take in an embedding that was made elsewhere, after checking its cells one by one."""
    from wced import h5ad
    from wced.embedding.external import read_external
    from wced.embedding.files import write_embedding
    from wced.provenance import recorded

    settings = read_section(External, section)
    inputs = {"input": input, "embedding": settings.path(dataset)}
    with recorded(output, command="embed-external", section=settings.model_dump(), inputs=inputs):
        obs = h5ad.read(input, backed="r").obs
        embedding = read_external(settings.path(dataset), obs.index, dataset, settings.key)
        write_embedding(
            output, embedding, obs, model=model, dataset=dataset, n_params=settings.n_params, leakage=settings.leakage,
            source="external", space=settings.space,
        )  # fmt: skip


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

"""Commands of the room `embedding`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from wced.cli.corpus import Collection
from wced.cli.frame import Input, Option, Output, command, record
from wced.cli.shards import SelectedCells
from wced.config.corpus import Census
from wced.config.embedding import Embedding, External
from wced.errors import WcedError

RawCounts = Annotated[Path, Input("h5ad with raw counts of human cells.")]
CheckpointName = Annotated[str, Option("Folder of a checkpoint's model, or owner/name on the Hugging Face hub.")]
Layer = Annotated[str | None, Option("Layer with the raw counts, if they are not in X.")]
UseRaw = Annotated[bool, Option("Take counts and genes from raw.", name="--raw")]
GeneColumn = Annotated[
    str | None, Option("Column of var with Ensembl ids or symbols; without it, var_names or a usual column.")
]
MinGeneShare = Annotated[float, Option("Smallest share of the model's genes that the file must have.", min=0, max=1)]
Untrained = Annotated[bool, Option("Use fresh weights instead of the checkpoint's.")]
BatchSize = Annotated[int, Option("Most cells at once; it does not change the result.", min=1)]
Seed = Annotated[int, Option("Seed of fresh weights.")]
EmbeddingFile = Annotated[Path, Output("h5ad to write: the embedding as X, obs as it was.")]
Model = Annotated[str, Option("Name of the model in the tables.")]
Dataset = Annotated[str, Option("Name of the dataset in the tables.")]
LeakageTable = Annotated[Path | None, Input("Table of `wced leakage`, instead of --leakage.")]
Shards = Annotated[Path, Input("Folder of the shards, with index.json.")]


@command
def joinids(
    cells: SelectedCells,
    census: Census,
    output: Annotated[Path, Output("File to write (Parquet): soma_joinid, observation_joinid.")],
    collection: Collection = None,
) -> None:
    """Read the ids in CELLxGENE of the cells of a run."""
    from wced.corpus.cells import read_cells
    from wced.corpus.census import open_census
    from wced.corpus.obs import write_joinids

    with record(section=census.model_dump()):
        chosen = read_cells(cells, columns=["soma_joinid"])["soma_joinid"].to_numpy()
        with open_census(census, collection) as handle:
            write_joinids(handle, census, chosen, output)


@command
def leakage(
    input: Annotated[Path, Input("Harmonised dataset (h5ad).")],
    shards: Shards,
    joinids: Annotated[Path, Input("Output of `wced joinids` for the cells of these shards.")],
    dataset: Dataset,
    output: Annotated[Path, Output("Table to write (TSV).")],
    role: Annotated[str, Option("development, if recipes were chosen by its scores.")] = "held_out",
) -> None:
    """Search for the cells of a dataset among those that the models of a run are trained and validated on."""
    from wced import tables
    from wced.embedding.leakage import find, in_words
    from wced.shards.reader import ShardSet

    inputs = {"input": input, "shards": shards / "index.json", "joinids": joinids}
    with record(section={"dataset": dataset}, inputs=inputs):
        table = find(input, dataset, ShardSet(shards), joinids, role=role)
        tables.write(table, tables.LEAKAGE, output)
        print(f"{dataset}: {in_words(table)}")


def _leakage_in_words(leakage: str, table: Path | None) -> str:
    """Return what is known of leakage, from the table if there is one."""
    if table is None:
        return leakage
    from wced import tables
    from wced.embedding.leakage import in_words

    return in_words(tables.read(tables.LEAKAGE, table))


@contextmanager
def _opened(
    input: Path, checkpoint: str, where: dict[str, Any], fresh: int | None = None, leakage: Path | None = None,
    **recorded: Any,
) -> Iterator[Any]:  # fmt: skip
    """Yield obs and cells of a file, the model, and the facts for the record of the command.

    `where` locates counts and genes for `read_cells`; `fresh` is the seed of weights that replace the checkpoint's.
    """
    from wced import h5ad
    from wced.checkpoint import found, load
    from wced.embedding.inference import untrained
    from wced.embedding.inputs import read_cells
    from wced.model.cpu import keep_freed_memory

    keep_freed_memory()
    folder = found(checkpoint)
    inputs = {"input": input, "weights": folder / "model.safetensors", "config": folder / "config.json"}
    with record(inputs=inputs | {"leakage": leakage}, **recorded) as facts:
        adata, loaded = h5ad.read(input, backed="r"), load(folder)
        loaded = loaded if fresh is None else untrained(loaded, fresh)
        try:
            cells = read_cells(adata, loaded, **where)
        except WcedError as error:
            raise WcedError(f"{input}: {error}") from None
        print(cells.summary)
        facts["input"] = cells.facts
        yield adata.obs, cells, loaded, facts


@command
def embed(
    input: RawCounts,
    checkpoint: CheckpointName,
    output: EmbeddingFile,
    pooling: Annotated[
        list[str] | None,
        Option(
            "cls, cls:2 (any CLS position), mean or head:COLUMN; the first three with @BLOCK are read after that "
            "block, and -batch subtracts the mean of the cell's batch. Repeatable: they are joined side by side. "
            "Without it, the checkpoint's own."
        ),
    ] = None,
    model: Model = "checkpoint",
    dataset: Dataset = "input",
    leakage: Annotated[str, Option("What is known about whether the model has seen these cells.")] = "not checked",
    leakage_table: LeakageTable = None,
    layer: Layer = None,
    use_raw: UseRaw = False,
    gene_column: GeneColumn = None,
    min_gene_share: MinGeneShare = 0.1,
    untrained: Untrained = False,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
) -> None:
    """Embed the cells of an h5ad with a checkpoint."""
    where = {"layer": layer, "use_raw": use_raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    options = {"checkpoint": checkpoint, **where, "pooling": pooling, "untrained": untrained}
    options |= {"batch_size": batch_size, "seed": seed}
    fresh = seed if untrained else None
    with _opened(input, checkpoint, where, fresh, leakage_table, section=options) as (obs, cells, loaded, facts):
        from wced.embedding import inference
        from wced.embedding.files import write_embedding
        from wced.embedding.pooling import Pooling

        pooled = Pooling(pooling or None, loaded.model)
        facts["pooling"] = pooled.name
        embedding = inference.embed(cells, loaded, pooling=pooled, batch_size=batch_size, obs=obs)
        facts["padded_share"] = inference.padded_share(cells, loaded.model, batch_size)
        write_embedding(
            output, embedding, obs, model=model, dataset=dataset, n_params=pooled.n_params,
            leakage=pooled.leakage(_leakage_in_words(leakage, leakage_table)), pooling=pooled.name, input=cells.facts,
        )  # fmt: skip
        n, width = embedding.shape
        print(f"{model}: {n} cells × {width}; read from {pooled.name}, {facts['padded_share']:.1%} padding")


@command
def annotate(
    input: RawCounts,
    checkpoint: CheckpointName,
    output: Annotated[Path, Output("Parquet to write: cell, predicted_term, probability, predicted_label, lineage.")],
    column: Annotated[str | None, Option("Label column of the head; by default that of cell types.")] = None,
    method: Annotated[str, Option("leaf_argmax, or greedy: the likeliest child from the root on.")] = "leaf_argmax",
    probabilities: Annotated[bool, Option("Also write the probability of every leaf.")] = False,
    layer: Layer = None,
    use_raw: UseRaw = False,
    gene_column: GeneColumn = None,
    min_gene_share: MinGeneShare = 0.1,
    untrained: Untrained = False,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
) -> None:
    """Predict cell types or other labels of an h5ad with a checkpoint's label heads."""
    where = {"layer": layer, "use_raw": use_raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    with _opened(input, checkpoint, where, seed if untrained else None) as (obs, cells, loaded, _):
        from wced.embedding import annotation
        from wced.files import whole_file

        frame = annotation.annotate(
            cells, obs.index, loaded, column=column, method=method, probabilities=probabilities, batch_size=batch_size
        )
        with whole_file(output) as path:
            frame.to_parquet(path, index=False)
        if "predicted_term" in frame:
            print(f"{len(frame)} cells of {frame['predicted_term'].nunique()} kinds")


@command
def attribute(
    input: RawCounts,
    checkpoint: CheckpointName,
    output: Annotated[Path, Output("Table to write, TSV or Parquet: a row per gene.")],
    target: Annotated[str, Option("COLUMN=CLASS of a label head, COLUMN of a number, detection=GENE or value=GENE.")],
    steps: Annotated[int, Option("Points between baseline and cell.", min=1)] = 64,
    layer: Layer = None,
    use_raw: UseRaw = False,
    gene_column: GeneColumn = None,
    min_gene_share: MinGeneShare = 0.1,
    batch_size: BatchSize = 64,
) -> None:
    """Find the genes that drive an output of a checkpoint, by integrated gradients, as means over cells of an h5ad."""
    where = {"layer": layer, "use_raw": use_raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    with _opened(input, checkpoint, where) as (_, cells, loaded, facts):
        from wced import tables
        from wced.embedding import attribution

        table, errors = attribution.attribute(cells, loaded, target, steps=steps, batch_size=batch_size)
        facts.update(errors)
        tables.write(table, tables.ATTRIBUTIONS, output)
        mean, largest = errors["completeness_error_mean"], errors["completeness_error_max"]
        text = f"completeness error {mean:.2g} in the mean, {largest:.2g} at most, of the mean change"
        print(f"{target}: {len(table)} genes; {text}")


@command
def fit_corpus_pca(
    shards: Shards,
    section: Embedding,
    output: Annotated[Path, Output("Principal components to write (npz).")],
    seed: Annotated[int, Option("Seed of the sample of cells and of the iteration.")] = 0,
) -> None:
    """Fit the principal components of the training cells of a corpus, for the baseline `corpus_pca`."""
    from wced.embedding.baselines.corpus_pca import fit
    from wced.shards.reader import ShardSet

    with record(inputs={"shards": shards / "index.json"}):
        fit(ShardSet(shards), section.n_components, section.corpus_pca_cells, seed).write(output)


@command
def embed_baseline(
    input: RawCounts,
    output: EmbeddingFile,
    section: Embedding,
    model: Annotated[str, Option("Name of the baseline.")],
    dataset: Dataset = "input",
    corpus: Annotated[Path | None, Input("Components of `wced fit-corpus-pca`, for corpus_pca.")] = None,
    leakage_table: LeakageTable = None,
    seed: Annotated[int, Option("Seed of everything random.")] = 0,
) -> None:
    """Embed the cells of an h5ad by a simple baseline."""
    from anndata import AnnData
    from scipy import sparse

    from wced import h5ad
    from wced.corpus.reading import of_anndata
    from wced.embedding.baselines import Cells, baseline
    from wced.embedding.files import write_embedding

    method = baseline(model)
    with record(inputs={"input": input, "corpus": corpus, "leakage": leakage_table}):
        try:
            counts = of_anndata(h5ad.read(input))
            x_ng = sparse.vstack(list(counts.counts()), format="csr")
        except WcedError as error:
            raise WcedError(f"{input}: {error}") from None
        adata = AnnData(x_ng, counts.obs, counts.var)
        embedded = method(Cells(adata, section, seed, corpus))
        leakage = embedded.leakage
        write_embedding(
            output, embedded.embedding_nd, adata.obs, model=model, dataset=dataset, n_params=embedded.n_params,
            leakage=_leakage_in_words("not checked", leakage_table) if leakage is None else leakage,
            space=embedded.space,
        )  # fmt: skip
        n, width = embedded.embedding_nd.shape
        print(f"{model}: {n} cells × {width}; {leakage or 'fitted on the corpus'}")


@command
def embed_external(
    input: Annotated[Path, Input("Harmonised dataset (h5ad) with the same cells.")],
    output: EmbeddingFile,
    section: External,
    model: Model,
    dataset: Dataset = "input",
) -> None:
    """Import an embedding from elsewhere, after checking its cells one by one."""
    from wced import h5ad
    from wced.embedding.files import read_external, write_embedding

    with record(inputs={"input": input, "embedding": section.path(dataset)}):
        obs = h5ad.read(input, backed="r").obs
        embedding = read_external(section.path(dataset), obs.index, dataset, section.key)
        write_embedding(
            output, embedding, obs, model=model, dataset=dataset, n_params=section.n_params, leakage=section.leakage,
            source="external", space=section.space,
        )  # fmt: skip


@command
def concat(
    parts: Annotated[list[Path], Input("Embeddings of the same cells.")],
    /,
    output: EmbeddingFile,
    model: Model = "concat",
) -> None:
    """Join embeddings of the same cells side by side."""
    from wced.embedding.files import concatenate

    with record(inputs={str(part): part for part in parts}):
        concatenate(output, parts, model=model)

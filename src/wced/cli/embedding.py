"""Commands of the room `embedding`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from wced.cli.corpus import CensusSection, Collection
from wced.cli.frame import Input, Option, Output, command, record
from wced.cli.shards import SelectedCells
from wced.config.embedding import Embedding, External
from wced.errors import WcedError

RawCounts = Annotated[Path, Input("h5ad with raw counts of human cells.")]
CheckpointName = Annotated[str, Option("Folder of a checkpoint's model, or owner/name on the Hugging Face hub.")]
Layer = Annotated[str | None, Option("Layer that holds the raw counts, if not X.")]
UseRaw = Annotated[bool, Option("Take counts and genes from raw.", name="--raw")]
GeneColumn = Annotated[
    str | None, Option("Column of var with Ensembl ids or symbols; var_names or a usual column without it.")
]
MinGeneShare = Annotated[float, Option("Smallest share of the model's genes to be found.", min=0, max=1)]
Untrained = Annotated[bool, Option("Use fresh weights instead of the checkpoint's.")]
BatchSize = Annotated[int, Option("Most cells at once; the result does not depend on it.", min=1)]
Seed = Annotated[int, Option("Seed of fresh weights.")]
EmbeddingFile = Annotated[Path, Output("h5ad to write: the embedding as X, obs as it was.")]
Model = Annotated[str, Option("Name of the model in the tables.")]
Dataset = Annotated[str, Option("Name of the dataset in the tables.")]
LeakageTable = Annotated[Path | None, Input("Table of `wced leakage`, which says so, instead of --leakage.")]
Shards = Annotated[Path, Input("Folder of the shards, with index.json.")]
EmbeddingSection = Annotated[Embedding, Option("Config section `embedding` as JSON.")]


@command
def joinids(
    cells: SelectedCells,
    census: CensusSection,
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
    joinids: Annotated[Path, Input("What `wced joinids` wrote of the same cells.")],
    dataset: Dataset,
    output: Annotated[Path, Output("Table to write (TSV).")],
    role: Annotated[str, Option("development, if recipes were chosen by its scores.")] = "held_out",
) -> None:
    """Look for the cells of a dataset among those that the models of a run are trained and validated on."""
    from wced import tables
    from wced.embedding.leakage import find, in_words
    from wced.shards.reader import ShardSet

    inputs = {"input": input, "shards": shards / "index.json", "joinids": joinids}
    with record(section={"dataset": dataset}, inputs=inputs):
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


@contextmanager
def _opened(
    input: Path, checkpoint: str, where: dict[str, Any], fresh: int | None = None, leakage: Path | None = None,
    **recorded: Any,
) -> Iterator[Any]:  # fmt: skip
    """Give obs and cells of a file, the model, and the facts that go into the record of the command.

    `where` says where counts and genes stand, for `read_cells`; `fresh` is the seed of weights instead of the
    checkpoint's. The table of leakage is an input where there is one.
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
            "cls, cls:2 (any CLS position), mean or head:COLUMN; @BLOCK behind one of the first three reads it "
            "after that block, -batch subtracts the mean of the cell's batch; given several times, side by side. "
            "Without it: the checkpoint's own."
        ),
    ] = None,
    model: Model = "checkpoint",
    dataset: Dataset = "input",
    leakage: Annotated[str, Option("What is known of the model having seen these cells.")] = "not checked",
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
    used = {"checkpoint": checkpoint, **where, "pooling": pooling, "untrained": untrained}
    used |= {"batch_size": batch_size, "seed": seed}
    fresh = seed if untrained else None
    with _opened(input, checkpoint, where, fresh, leakage_table, section=used) as (obs, cells, loaded, facts):
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


@command
def annotate(
    input: RawCounts,
    checkpoint: CheckpointName,
    output: Annotated[Path, Output("Parquet to write: cell, predicted_term, probability, predicted_label, lineage.")],
    column: Annotated[str | None, Option("Label column of the head; that over the Cell Ontology without it.")] = None,
    method: Annotated[
        str, Option("leaf_argmax, or greedy: from the root always the most probable child.")
    ] = "leaf_argmax",
    probabilities: Annotated[bool, Option("Write the probability of every leaf, too.")] = False,
    layer: Layer = None,
    use_raw: UseRaw = False,
    gene_column: GeneColumn = None,
    min_gene_share: MinGeneShare = 0.1,
    untrained: Untrained = False,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
) -> None:
    """Predict the cell types, or other labels, of an h5ad with a checkpoint's label heads."""
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
    """Say which genes drive an output of a checkpoint, by integrated gradients, as means over the cells of an h5ad."""
    where = {"layer": layer, "use_raw": use_raw, "gene_column": gene_column, "min_gene_share": min_gene_share}
    with _opened(input, checkpoint, where) as (_, cells, loaded, facts):
        from wced import tables
        from wced.embedding import attribution

        frame, found = attribution.attribute(cells, loaded, target, steps=steps, batch_size=batch_size)
        facts.update(found)
        tables.write(frame, tables.ATTRIBUTIONS, output)
        print(
            f"{target}: {len(frame)} genes; completeness error {found['completeness_error_mean']:.2g} in the mean, "
            f"{found['completeness_error_max']:.2g} at most, of the mean change"
        )


@command
def fit_corpus_pca(
    shards: Shards,
    section: EmbeddingSection,
    output: Annotated[Path, Output("Principal components to write (npz).")],
    seed: Annotated[int, Option("Seed of the draw of cells and of the iteration.")] = 0,
) -> None:
    """Find the principal components of the training cells of a corpus, for the baseline `corpus_pca`."""
    from wced.embedding.baselines.corpus_pca import fit
    from wced.shards.reader import ShardSet

    with record(inputs={"shards": shards / "index.json"}):
        fit(ShardSet(shards), section.n_components, section.corpus_pca_cells, seed).write(output)


@command
def embed_baseline(
    input: RawCounts,
    output: EmbeddingFile,
    section: EmbeddingSection,
    model: Annotated[str, Option("Name of the baseline.")],
    dataset: Dataset = "input",
    corpus: Annotated[Path | None, Input("Components of `wced fit-corpus-pca`, for corpus_pca.")] = None,
    leakage_table: LeakageTable = None,
    seed: Annotated[int, Option("Seed of what is drawn.")] = 0,
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
        made = method(Cells(adata, section, seed, corpus))
        write_embedding(
            output, made.embedding_nd, adata.obs, model=model, dataset=dataset, n_params=made.n_params,
            leakage=_words("not checked", leakage_table) if made.leakage is None else made.leakage,
            space=made.space,
        )  # fmt: skip
        n, width = made.embedding_nd.shape
        print(f"{model}: {n} cells × {width}; {made.leakage or 'fitted on the corpus'}")


@command
def embed_external(
    input: Annotated[Path, Input("Harmonised dataset (h5ad), whose cells these must be.")],
    output: EmbeddingFile,
    section: Annotated[External, Option("Config section of this model in `embedding.external`, as JSON.")],
    model: Model,
    dataset: Dataset = "input",
) -> None:
    """Take in an embedding that was made elsewhere, after checking its cells one by one."""
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

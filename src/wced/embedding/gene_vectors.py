"""Vectors of genes: what a model has learned of each gene, and simple vectors to compare with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wced.checkpoint import Checkpoint
from wced.embedding.corpus_pca import Components
from wced.embedding.files import write_embedding
from wced.embedding.inference import untrained
from wced.errors import WcedError
from wced.pretraining.gene_statistics import cell_values
from wced.shards.reader import ShardSet

ANNOTATION = ("family", "program", "tissue_specificity_tau", "cell_type_specificity_tau")
"""Columns of tables.GENE_ANNOTATION that stand beside the vectors."""
LEAKAGE = "none (annotation of genes enters no training)"
"""What the models have seen of what is predicted."""


@dataclass(frozen=True)
class GeneVectors:
    """A vector of each gene of the vocabulary."""

    model: str
    """Name in the tables."""
    x_gd: np.ndarray
    """Genes × dimensions, in the order of the vocabulary."""
    n_params: int
    """How many of these numbers were trained or fitted."""
    kind: str
    """What of the model they are."""


@torch.inference_mode()
def vectors_of(name: str, checkpoint: Checkpoint) -> Iterator[GeneVectors]:
    """Yield the input embeddings of the genes and, of a model that decodes whole cells, what it decodes them by.

    The latter are the weights of the last layer: those of a gene's detection logit, and those of its value. They go by
    the name of the checkpoint with `_decoder`.
    """
    model = checkpoint.model
    x_gd = model.embedding.genes(torch.arange(len(checkpoint.vocabulary))[None])[0].numpy()
    yield GeneVectors(name, x_gd, x_gd.size, "input")
    if "wced" in model.config.decoders:
        decoder = model.decoders["wced"]
        x_gd = torch.cat([decoder.detection.weight, decoder.value.weight], dim=1).numpy()
        yield GeneVectors(f"{name}_decoder", x_gd, x_gd.size, "decoder")


def write_all(
    folder: Path,
    checkpoints: Mapping[str, Checkpoint],
    starts: Mapping[str, Checkpoint],
    components: Components,
    shards: ShardSet,
    annotation: pd.DataFrame,
    seed: int,
) -> list[str]:
    """Write the vectors of every model as an embedding whose cells are the genes, `<model>.h5ad`.

    Beside the checkpoints stand `untrained` (fresh input embeddings of the first checkpoint), `random` (normal numbers,
    as many), `coexpression_pca` (loadings of the principal components of the training cells) and `frequency` (how many
    training cells express the gene, and its mean value there: whatever needs no more is no knowledge of genes).

    Parameters
    ----------
    folder
        Existing folder to write to.
    checkpoints
        Models by name.
    starts
        Models by name whose weights are those before their first step; of them the input embeddings only.
    components
        Principal components of the corpus.
    shards
        The corpus.
    annotation
        Rows of tables.GENE_ANNOTATION; genes without one are `unknown`.
    seed
        Of the untrained and the random vectors.

    Returns
    -------
    list of str
        Names of the models, in order.

    Raises
    ------
    WcedError
        If a model or the components have another vocabulary than the corpus.
    """
    vocabulary = shards.vocabulary
    for name, other in {**checkpoints, **starts, "the principal components": components}.items():
        if other.vocabulary.sha256 != vocabulary.sha256:
            raise WcedError(f"{name}: of another vocabulary than the shards")
    values = cell_values(shards, "train", null=False)
    table = annotation.set_index("gene_id").reindex(vocabulary.gene_ids)
    genes = pd.DataFrame({"gene_symbol": vocabulary.symbols}, index=pd.Index(vocabulary.gene_ids, name="gene_id"))
    genes["train_cells"] = values.n_nonzero_g
    for column in ANNOTATION:
        genes[column] = table[column].fillna("unknown") if column in ("family", "program") else table[column]
    names = []
    for vectors in _all(checkpoints, starts, components, values.n_nonzero_g, values.mean_g, seed):
        write_embedding(
            folder / f"{vectors.model}.h5ad", vectors.x_gd, genes, model=vectors.model, dataset="genes",
            n_params=vectors.n_params, leakage=LEAKAGE, pooling=vectors.kind,
        )  # fmt: skip
        names.append(vectors.model)
    return names


def _all(
    checkpoints: Mapping[str, Checkpoint],
    starts: Mapping[str, Checkpoint],
    components: Components,
    cells_g: np.ndarray,
    mean_g: np.ndarray,
    seed: int,
) -> Iterator[GeneVectors]:
    for name, checkpoint in checkpoints.items():
        yield from vectors_of(name, checkpoint)
    for name, checkpoint in starts.items():
        yield next(vectors_of(name, checkpoint))
    first = next(iter(checkpoints.values()))
    fresh = next(vectors_of("untrained", untrained(first, seed)))
    yield GeneVectors("untrained", fresh.x_gd, 0, "input")
    drawn_gd = np.random.default_rng(seed).standard_normal(fresh.x_gd.shape)
    yield GeneVectors("random", drawn_gd, 0, "normal numbers")
    yield GeneVectors("coexpression_pca", components.loading_vk, components.loading_vk.size, "loadings")
    frequency_g2 = np.stack([np.log1p(cells_g), np.nan_to_num(mean_g)], axis=1)
    yield GeneVectors("frequency", frequency_g2, frequency_g2.size, "log1p of cells that express it, mean value there")

"""Vectors of genes: what a model has learned of each gene, and simple vectors to compare with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wced.checkpoint import Checkpoint
from wced.embedding.baselines.corpus_pca import Components
from wced.embedding.files import write_embedding
from wced.embedding.inference import untrained
from wced.errors import WcedError
from wced.pretraining.gene_statistics import cell_values
from wced.shards.reader import ShardSet

ANNOTATION = ("family", "program", "tissue_specificity_tau", "cell_type_specificity_tau")
"""Columns of tables.GENE_ANNOTATION that go into obs of the vectors."""

LEAKAGE = "none (annotation of genes enters no training)"
"""What the models have seen of what is predicted from the vectors."""


@torch.inference_mode()
def input_vectors(checkpoint: Checkpoint) -> np.ndarray:
    """Return the input embeddings of the genes; vocabulary × dimensions."""
    return checkpoint.model.embedding.genes(torch.arange(len(checkpoint.vocabulary))[None])[0].numpy()


def write_all(
    folder: Path, checkpoints: Mapping[str, Checkpoint], starts: Mapping[str, Checkpoint], components: Components,
    shards: ShardSet, annotation: pd.DataFrame, seed: int,
) -> list[str]:  # fmt: skip
    """Write the vectors of every model as an embedding whose cells are the genes, `<model>.h5ad`; return the names.

    A checkpoint has its input embeddings and, if it decodes whole cells, as `<checkpoint>_decoder` the weights of the
    decoder's last layer: those of a gene's detection logit, and those of its value. Beside the checkpoints there are
    `untrained` (fresh input embeddings of the first checkpoint), `random` (as many normal numbers), `coexpression_pca`
    (loadings of the principal components of the training cells) and `frequency` (how many training cells express the
    gene, and its mean value there: what needs no more is no knowledge of genes).

    `starts` are models by name whose weights are those before their first step; only their input embeddings are
    written. `annotation` are rows of tables.GENE_ANNOTATION; genes without one are `unknown`. WcedError is raised if a
    model or the components have another vocabulary than the corpus.
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

    def write(model: str, x_gd: np.ndarray, pooling: str, *, trained: bool = True) -> None:
        write_embedding(
            folder / f"{model}.h5ad", x_gd, genes, model=model, dataset="genes",
            n_params=x_gd.size if trained else 0, leakage=LEAKAGE, pooling=pooling,
        )  # fmt: skip
        names.append(model)

    for name, checkpoint in checkpoints.items():
        write(name, input_vectors(checkpoint), "input")
        if "wced" in checkpoint.model.config.decoders:
            decoder = checkpoint.model.decoders["wced"]
            weights_gd = torch.cat([decoder.detection.weight, decoder.value.weight], dim=1).detach().numpy()
            write(f"{name}_decoder", weights_gd, "decoder")
    for name, checkpoint in starts.items():
        write(name, input_vectors(checkpoint), "input")
    fresh_gd = input_vectors(untrained(next(iter(checkpoints.values())), seed))
    write("untrained", fresh_gd, "input", trained=False)
    random_gd = np.random.default_rng(seed).standard_normal(fresh_gd.shape)
    write("random", random_gd, "normal numbers", trained=False)
    write("coexpression_pca", components.loading_vk, "loadings")
    frequency_g2 = np.stack([np.log1p(values.n_nonzero_g), np.nan_to_num(values.mean_g)], axis=1)
    write("frequency", frequency_g2, "log1p of cells that express it, mean value there")
    return names

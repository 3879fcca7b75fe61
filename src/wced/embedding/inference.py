"""Embed and annotate the cells of an AnnData with a checkpoint."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from wced.errors import WcedError
from wced.model import WcedModel
from wced.pretraining.folder import Checkpoint
from wced.shards.batches import TensorBatch, to_tensors
from wced.shards.cells import RaggedCells, from_csr
from wced.shards.encode import Encoding, encode
from wced.shards.vocabulary import Vocabulary


def cells_of(adata: AnnData, vocabulary: Vocabulary) -> RaggedCells:
    """Return the raw counts of an AnnData, reduced to the vocabulary.

    Raises
    ------
    WcedError
        If X holds no raw counts, or var_names hold no or repeated Ensembl ids of the vocabulary.
    """
    data = adata.X.data if hasattr(adata.X, "indptr") else np.asarray(adata.X)
    if adata.X is None or (data.size and (data.min() < 0 or not np.array_equal(data, np.round(data)))):
        raise WcedError("X: not raw counts (whole numbers, none negative)")
    ids = vocabulary.ids_of(adata.var_names)
    found = ids[ids >= 0]
    if not len(found):
        raise WcedError(
            "var_names: none is an Ensembl id of the model's vocabulary; they must be Ensembl ids without versions"
        )
    if len(np.unique(found)) != len(found):
        raise WcedError("var_names: a gene of the model's vocabulary stands there twice")
    return from_csr(adata.X, ids, len(vocabulary))


def _batches(cells: RaggedCells, measured_v: np.ndarray, model: WcedModel, batch_size: int) -> Iterator[TensorBatch]:
    """Encode cells in their order, without anything random: the most expressed genes, zeros only where they belong."""
    chosen = model.config.input
    encoding = Encoding(**{name: chosen[name] for name in ("length", "values", "bins", "zeros") if name in chosen})
    for start in range(0, len(cells), batch_size):
        stop = min(start + batch_size, len(cells))
        begin, end = cells.offsets[start], cells.offsets[stop]
        part = RaggedCells(
            cells.offsets[start : stop + 1] - begin, cells.gene[begin:end], cells.count[begin:end],
            cells.soma_joinid[start:stop], cells.dataset[start:stop], cells.labels[start:stop],
        )  # fmt: skip
        yield to_tensors(encode(part, measured_v[None], encoding, training=False))


@torch.inference_mode()
def embed(adata: AnnData, checkpoint: Checkpoint, *, batch_size: int) -> np.ndarray:
    """Return what stands at the CLS positions of every cell, in the order of `adata`.

    Parameters
    ----------
    adata
        Raw counts as X, Ensembl ids as var_names.
    checkpoint
        The model.
    batch_size
        Cells at once; it does not change the result beyond rounding.

    Returns
    -------
    numpy.ndarray
        Cells × CLS positions × width, float32; the first position is the cell's embedding. A cell without any
        vocabulary gene gets the embedding of an empty cell.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = checkpoint.model.to(device).eval()
    cells = cells_of(adata, checkpoint.vocabulary)
    measured_v = np.zeros(len(checkpoint.vocabulary), bool)
    ids = checkpoint.vocabulary.ids_of(adata.var_names)
    measured_v[ids[ids >= 0]] = True
    parts = [
        model(*(batch[name].to(device) for name in ("gene", "value", "length")), decode=False)
        .cls_nkd.float().cpu().numpy()
        for batch in _batches(cells, measured_v, model, batch_size)
    ]  # fmt: skip
    return np.concatenate(parts)


@torch.inference_mode()
def annotate(cls_nkd: np.ndarray, obs_names: pd.Index, checkpoint: Checkpoint) -> pd.DataFrame:
    """Return the most probable leaf of the Cell Ontology for each embedded cell.

    Parameters
    ----------
    cls_nkd
        What `embed` returned with the same checkpoint.
    obs_names
        Names of the cells.
    checkpoint
        A model with a hierarchical head.

    Returns
    -------
    pandas.DataFrame
        `cell`, `predicted_term` (Cell Ontology id), `probability` (of that leaf).

    Raises
    ------
    WcedError
        If the checkpoint has no hierarchical head.
    """
    columns = [head["column"] for head in checkpoint.model.config.label_heads if head["loss"] == "hierarchical"]
    if not columns or checkpoint.ontology is None:
        raise WcedError("the checkpoint has no head over the Cell Ontology")
    model = checkpoint.model.eval()
    logits = model.label_logits(torch.from_numpy(cls_nkd).to(model.device))[columns[0]].float().cpu().numpy()
    terms = checkpoint.ontology.leaf_argmax(logits)
    probability = checkpoint.ontology.node_probabilities(logits)[np.arange(len(terms)), terms]
    names = np.array(checkpoint.ontology.terms)
    return pd.DataFrame({"cell": obs_names, "predicted_term": names[terms], "probability": probability})


def untrained(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """Return the same model with fresh weights: the baseline that shows what training added."""
    torch.manual_seed(seed)
    return Checkpoint(
        WcedModel(checkpoint.model.config).eval(), checkpoint.vocabulary, checkpoint.labels, checkpoint.ontology
    )

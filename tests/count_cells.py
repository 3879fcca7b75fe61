"""Cells made of dense count matrices, and how they are encoded."""

import numpy as np

from wced.config.pretraining import Input, Masked
from wced.shards.cells import RaggedCells
from wced.shards.encode import Encoding


def ragged(x_ng, soma_joinid=None, dataset=None):
    """Cells of a dense count matrix."""
    row, gene = np.nonzero(x_ng)
    n = len(x_ng)
    return RaggedCells(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))]).astype(np.int64),
        gene=gene.astype(np.uint16),
        count=x_ng[row, gene].astype(np.uint32),
        soma_joinid=np.arange(n, dtype=np.int64) if soma_joinid is None else np.asarray(soma_joinid, np.int64),
        dataset=np.zeros(n, np.int32) if dataset is None else np.asarray(dataset, np.int32),
        labels=np.full((n, 2), -1, np.int32),
    )


def random_counts(seed, n, genes, density=0.5, largest=50):
    rng = np.random.default_rng(seed)
    x_ng = rng.integers(1, largest + 1, (n, genes)) * (rng.random((n, genes)) < density)
    x_ng[:, rng.integers(genes)] += 1  # no cell is empty
    return x_ng


def encoding(mlm=None, cell_target=True, **section):
    """An encoding of the config sections `input` and `mlm`, unchecked: tests have shorter sequences than a config."""
    return Encoding(Input.model_construct(**section), mlm and Masked.model_construct(**mlm), cell_target)

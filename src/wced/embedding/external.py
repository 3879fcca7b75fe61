"""Embeddings that were made elsewhere: they enter the tables only if their cells are those of the dataset."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from wced import h5ad
from wced.errors import WcedError


def read_external(path: str | Path, cells: pd.Index, dataset: str, key: str = "X") -> np.ndarray:
    """Read an embedding and put its cells into the dataset's order.

    Parameters
    ----------
    path
        h5ad file whose obs names are those of the harmonised dataset, in any order.
    cells
        obs names of the dataset.
    dataset
        Its name, for sentences.
    key
        `X`, or `obsm/NAME`.

    Returns
    -------
    numpy.ndarray
        Cells × dimensions, float32.

    Raises
    ------
    WcedError
        If a cell is missing, too many or there twice (one is named), if there is no such key, or a value is not finite.
    """
    adata = h5ad.read(path, "an embedding made elsewhere (h5ad)")
    if twice := adata.obs_names[adata.obs_names.duplicated()].tolist():
        raise WcedError(f"{path}: cell {twice[0]} stands there twice")
    place = adata.obs_names.get_indexer(cells)
    if (place < 0).any():
        lost = cells[place < 0]
        raise WcedError(f"{path}: has no cell {lost[0]} of {dataset}; {len(lost)} of its {len(cells)} are missing")
    if adata.n_obs > len(cells):
        extra = adata.obs_names[~adata.obs_names.isin(cells)]
        raise WcedError(f"{path}: cell {extra[0]} is not in {dataset}; {len(extra)} cells are too many")
    name = key.removeprefix("obsm/")
    if key != "X" and name not in adata.obsm:
        raise WcedError(f"{path}: there is no {key}; obsm has {', '.join(adata.obsm) or 'nothing'}")
    values = adata.X if key == "X" else adata.obsm[name]
    values = values.toarray() if sparse.issparse(values) else values
    try:
        embedding_nd = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise WcedError(f"{path}: {key} is no matrix of numbers") from None
    if embedding_nd.ndim != 2 or embedding_nd.shape[1] == 0:
        raise WcedError(f"{path}: {key} is no matrix of cells × dimensions")
    embedding_nd = embedding_nd[place]
    finite_n = np.isfinite(embedding_nd).all(axis=1)
    if not finite_n.all():
        raise WcedError(f"{path}: the embedding of cell {cells[~finite_n][0]} is not finite")
    return embedding_nd

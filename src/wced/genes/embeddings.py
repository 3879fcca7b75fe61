"""Vectors of genes that were made elsewhere (gene2vec, ESM2, …)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from wced import h5ad
from wced.errors import WcedError
from wced.files import existing
from wced.genes.names import without_version


def read_gene_embeddings(path: str | Path, gene_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of the genes of a vocabulary that have one, float32 (genes, dimensions), and which these are.

    The file is Parquet (index or first column), TSV with a header (first column) or h5ad (obs names) of Ensembl ids,
    with or without version; the other columns, or X, are the dimensions. Vectors are in the order of the vocabulary;
    the second array is bool, (vocabulary,). WcedError if the file is missing or of another kind, has two rows for a
    gene, holds anything but finite numbers, has vectors of zeros only, or has none of the genes.
    """
    table = _read(existing(path, "vectors of genes (.parquet, .tsv or .h5ad)"))
    ids = pd.Index(without_version(table.index))
    if repeated := ids[ids.duplicated()].tolist():
        raise WcedError(f"{path}: {repeated[0]} has more than one row")
    row_v = ids.get_indexer(gene_ids)
    has_row_v = row_v >= 0
    if not has_row_v.any():
        raise WcedError(
            f"{path}: none of its {len(ids)} ids is a gene of the vocabulary; the first is {ids[:1].tolist()}"
        )
    try:
        matrix_gw = table.iloc[row_v[has_row_v]].to_numpy(dtype=np.float32)
    except ValueError as failure:
        raise WcedError(f"{path}: a vector is not made of numbers: {failure}") from None
    finite = np.isfinite(matrix_gw).all(axis=1)
    if not finite.all():
        gene = np.asarray(gene_ids)[has_row_v][~finite][0]
        raise WcedError(f"{path}: the vector of {gene} holds a missing or infinite number")
    if not matrix_gw.any():
        raise WcedError(f"{path}: the vectors have no dimension, or are zeros only")
    return matrix_gw, has_row_v


def _read(path: Path) -> pd.DataFrame:
    """Return a table of vectors, indexed by gene."""
    if path.suffix == ".h5ad":
        adata = h5ad.read(path)
        return pd.DataFrame(adata.X.toarray() if sparse.issparse(adata.X) else adata.X, index=adata.obs_names)
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            return table.set_index(table.columns[0]) if isinstance(table.index, pd.RangeIndex) else table
        if path.suffix == ".tsv":
            return pd.read_csv(path, sep="\t", index_col=0)
    except (ValueError, IndexError, pa.ArrowException) as failure:
        raise WcedError(f"{path}: cannot be read as {path.suffix[1:]}: {failure}") from None
    raise WcedError(f"{path}: vectors of genes come as .parquet, .tsv or .h5ad")

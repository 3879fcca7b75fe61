"""A set of cells as flat arrays: the one form in which raw counts travel between files, batches and kernels."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class RaggedCells:
    """Raw counts of n cells; cell i expresses genes `gene[offsets[i]:offsets[i + 1]]`, ids ascending."""

    offsets: np.ndarray
    """int64, (n + 1,): where each cell's genes begin in the flat arrays."""
    gene: np.ndarray
    """uint16 or uint32, (nonzeros,): vocabulary ids."""
    count: np.ndarray
    """uint32, (nonzeros,): raw counts, at least 1."""
    soma_joinid: np.ndarray
    """int64, (n,): identity of the cell, which seeds everything random about it."""
    dataset: np.ndarray
    """int32, (n,): row of the measured-gene mask."""
    labels: np.ndarray
    """int32, (n, label columns): class codes, -1 for unknown."""
    numbers: np.ndarray | None = None
    """float32, (n, number columns): NaN for unknown; None where there are none."""
    perturbed: np.ndarray | None = None
    """int32, (n, m): vocabulary ids of the perturbed genes, -1 for none; None where nobody has noted them."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def views(self) -> "CellViews":
        """Return where the cells lie."""
        starts = self.offsets[:-1]
        return CellViews(
            offsets=self.offsets,
            gene_at=self.gene.ctypes.data + starts * self.gene.itemsize,
            count_at=self.count.ctypes.data + starts * self.count.itemsize,
            like=self.gene[:0],
            soma_joinid=self.soma_joinid,
            dataset=self.dataset,
            labels=self.labels,
            numbers=self.numbers,
            perturbed=self.perturbed,
            owner=self,
        )


@dataclass(frozen=True)
class CellViews:
    """Raw counts of n cells as `RaggedCells`, but left where they lie, e.g. in mapped files: no copy is made."""

    offsets: np.ndarray
    """int64, (n + 1,): where each cell's genes would begin in flat arrays."""
    gene_at: np.ndarray
    """int64, (n,): address of each cell's vocabulary ids, ascending."""
    count_at: np.ndarray
    """int64, (n,): address of its counts, uint32."""
    like: np.ndarray
    """Empty, of the type of the ids."""
    soma_joinid: np.ndarray
    """int64, (n,)."""
    dataset: np.ndarray
    """int32, (n,)."""
    labels: np.ndarray
    """int32, (n, label columns)."""
    numbers: np.ndarray | None
    """float32, (n, number columns), or None."""
    perturbed: np.ndarray | None
    """int32, (n, m), or None."""
    owner: object
    """What the memory belongs to, so that it lives as long as this."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def views(self) -> "CellViews":
        """Return itself."""
        return self


def id_dtype(vocabulary_size: int) -> type:
    """Return the narrowest type of the shard contract that holds a vocabulary's ids."""
    return np.uint16 if vocabulary_size < 2**16 else np.uint32


def from_csr(counts_ng: sparse.csr_matrix, vocabulary_ids: np.ndarray, vocabulary_size: int) -> RaggedCells:
    """Return the cells of a count matrix, reduced to the genes of a vocabulary.

    Parameters
    ----------
    counts_ng
        Raw counts, cells × genes of some file.
    vocabulary_ids
        int32, (genes of the file,): vocabulary id of each column, -1 for genes outside. Columns of one gene are added
        up.
    vocabulary_size
        Number of genes of the vocabulary.

    Returns
    -------
    RaggedCells
        In the order of the rows, `soma_joinid` being the row number, dataset 0, and no labels.
    """
    counts_ng = sparse.csr_matrix(counts_ng)
    gene, n = vocabulary_ids[counts_ng.indices], counts_ng.shape[0]
    kept = gene >= 0
    indptr = np.concatenate([[0], np.cumsum(kept)])[counts_ng.indptr]
    chosen = sparse.csr_matrix((counts_ng.data[kept].astype(np.float64), gene[kept], indptr), (n, vocabulary_size))
    chosen.sum_duplicates()
    chosen.eliminate_zeros()
    return RaggedCells(
        offsets=chosen.indptr.astype(np.int64),
        gene=chosen.indices.astype(id_dtype(vocabulary_size)),
        count=chosen.data.astype(np.uint32),
        soma_joinid=np.arange(n, dtype=np.int64),
        dataset=np.zeros(n, np.int32),
        labels=np.full((n, 0), -1, np.int32),
    )

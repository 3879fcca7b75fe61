import numpy as np
import pytest
from scipy import sparse

from wced.shards.cells import from_csr, id_dtype

COUNTS_NG = np.array([[0, 3, 0, 7], [5, 0, 2, 1], [0, 0, 0, 9]])


@pytest.mark.parametrize(
    ("size", "dtype"), [(2**16 - 1, np.uint16), (2**16, np.uint32), (1, np.uint16)], ids=["65535", "65536", "1"]
)
def test_ids_are_as_narrow_as_the_contract_says(size, dtype):
    assert id_dtype(size) is dtype


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray], ids=["csr", "csc", "dense"])
def test_columns_become_ascending_vocabulary_ids(form):
    cells = from_csr(form(COUNTS_NG.astype(np.float32)), np.array([4, 0, 2, -1], np.int32), 5)
    assert len(cells) == 3
    assert cells.offsets.tolist() == [0, 1, 3, 3]
    assert cells.gene.tolist() == [0, 2, 4] and cells.gene.dtype == np.uint16
    assert cells.count.tolist() == [3, 2, 5] and cells.count.dtype == np.uint32
    assert cells.soma_joinid.tolist() == [0, 1, 2]
    assert cells.labels.shape == (3, 0)


def test_stored_zeros_are_no_expressed_genes():
    counts_ng = sparse.csr_matrix(([0.0, 2.0], ([0, 0], [0, 1])), shape=(1, 2))
    cells = from_csr(counts_ng, np.array([0, 1], np.int32), 2)
    assert cells.gene.tolist() == [1] and cells.offsets.tolist() == [0, 1]
    assert counts_ng.nnz == 2  # the caller's matrix is left as it was

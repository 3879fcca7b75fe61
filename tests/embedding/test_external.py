import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from wced.embedding.external import read_external

from wced.errors import WcedError

CELLS = pd.Index(["c0", "c1", "c2", "c3"])
VALUES = np.arange(8, dtype=np.float64).reshape(4, 2) - 3


def written(path, names=CELLS, values=VALUES, **more):
    ad.AnnData(values, obs=pd.DataFrame(index=names), **more).write_h5ad(path / "e.h5ad")
    return path / "e.h5ad"


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]], ids=["as the dataset", "another order"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_cells_come_in_the_order_of_the_dataset(tmp_path, order, kind):
    path = written(tmp_path, CELLS[order], kind(VALUES[order]))
    found = read_external(path, CELLS, "d")
    assert (found == VALUES).all() and found.dtype == np.float32


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame], ids=["array", "frame"])
def test_obsm(tmp_path, kind):
    order = [2, 0, 3, 1]
    values = kind(VALUES[order], index=CELLS[order], columns=["a", "b"]) if kind is pd.DataFrame else VALUES[order]
    path = written(tmp_path, CELLS[order], np.zeros((4, 1)), obsm={"X_other": values})
    assert (read_external(path, CELLS, "d", "obsm/X_other") == VALUES).all()


BAD = VALUES.copy()
BAD[2, 1] = np.inf


@pytest.mark.parametrize(
    ("names", "values", "key", "message"),
    [
        (CELLS[:3], VALUES[:3], "X", "has no cell c3 of d; 1 of its 4 are missing"),
        (["c0", "c1", "c2", "C3"], VALUES, "X", "has no cell c3 of d; 1 of its 4"),
        ([*CELLS, "c9"], np.ones((5, 2)), "X", "cell c9 is not in d; 1 cells are too many"),
        (["c0", "c1", "c1", "c2"], VALUES, "X", "cell c1 stands there twice"),
        (CELLS, BAD, "X", "the embedding of cell c2 is not finite"),
        (CELLS, VALUES, "obsm/X_pca", "there is no obsm/X_pca; obsm has nothing"),
        (CELLS, np.ones((4, 0)), "X", "X is no matrix of cells × dimensions"),
    ],
    ids=["missing", "misspelt", "extra", "twice", "infinite", "no such key", "no dimension"],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, names, values, key, message):
    with pytest.raises(WcedError, match=rf"e\.h5ad: {message}"):
        read_external(written(tmp_path, names, values), CELLS, "d", key)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WcedError, match="no such file; expected an embedding made elsewhere"):
        read_external(tmp_path / "none.h5ad", CELLS, "d")

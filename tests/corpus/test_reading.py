import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from wced.corpus.reading import LARGEST_COUNT, read_h5ad, read_obs
from wced.errors import WcedError

COUNTS = np.array([[0, 2, 0], [1, 0, 3], [0, 0, 0], [5, 0, 70000]], np.float32)


def cells(matrix=None):
    matrix = sparse.csr_matrix(COUNTS) if matrix is None else matrix
    obs = pd.DataFrame({"good": [True, False, True, True], "n": [1, 2, 3, 4]}, index=list("abcd"))
    return ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=["g1", "g2", "g3"]))


@pytest.mark.parametrize(
    "matrix", [COUNTS, sparse.csr_matrix(COUNTS), sparse.csc_matrix(COUNTS)], ids=["dense", "csr", "csc"]
)
@pytest.mark.parametrize(
    ("keep", "rows"),
    [(None, [0, 1, 2, 3]), ("good", [0, 2, 3]), ("good and n > 1", [2, 3]), ("n == 2", [1])],
    ids=["all", "flag", "two conditions", "one"],
)
def test_wanted_rows_of_any_matrix(tmp_path, matrix, keep, rows):
    cells(matrix).write_h5ad(tmp_path / "x.h5ad")
    raw = read_h5ad(tmp_path / "x.h5ad", keep=keep)
    np.testing.assert_array_equal(raw.counts_ng.toarray(), COUNTS[rows])
    assert raw.obs.index.tolist() == [list("abcd")[row] for row in rows]
    assert raw.n_in_file == 4


@pytest.mark.parametrize("counts", ["X", "raw", "layers/counts"])
def test_where_counts_are(tmp_path, counts):
    adata = cells()
    normalised = adata.copy()
    normalised.X = normalised.X.log1p()
    if counts == "raw":
        normalised.raw = adata
        normalised = normalised[:, :2].copy()
    if counts == "layers/counts":
        normalised.layers["counts"] = adata.X
    (adata if counts == "X" else normalised).write_h5ad(tmp_path / "x.h5ad")
    raw = read_h5ad(tmp_path / "x.h5ad", counts)
    np.testing.assert_array_equal(raw.counts_ng.toarray(), COUNTS)
    assert raw.var.index.tolist() == ["g1", "g2", "g3"]


def test_file_from_before_anndata_0_7(tmp_path):
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", COUNTS.shape
        matrix = sparse.csr_matrix(COUNTS)
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        file["obs"] = np.array([(name.encode(),) for name in "abcd"], dtype=[("index", "S8")])
        file["var"] = np.array([(f"g{i}".encode(), b"ENSG") for i in range(3)], dtype=[("index", "S8"), ("id", "S8")])
    raw = read_h5ad(path)
    np.testing.assert_array_equal(raw.counts_ng.toarray(), COUNTS)
    assert raw.obs.index.tolist() == list("abcd")
    assert raw.var.index.tolist() == ["g0", "g1", "g2"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "is -1, which is negative"),
        (0.5, "is 0.5, which is not a whole number"),
        (np.nan, "is nan, which is not a finite number"),
        (np.inf, "is inf, which is not a finite number"),
        (2.0 * LARGEST_COUNT, "is larger than"),
    ],
    ids=["negative", "fraction", "nan", "infinite", "too large"],
)
def test_bad_count_is_located(tmp_path, value, words):
    matrix = sparse.csr_matrix(COUNTS)
    matrix[3, 2] = value
    cells(matrix).write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(WcedError, match=f"x.h5ad, X: the count of gene g3 in cell d .*{words}"):
        read_h5ad(tmp_path / "x.h5ad")


def test_bad_count_of_a_dropped_cell_does_not_matter(tmp_path):
    matrix = sparse.csr_matrix(COUNTS)
    matrix[1, 0] = 0.5
    cells(matrix).write_h5ad(tmp_path / "x.h5ad")
    assert read_h5ad(tmp_path / "x.h5ad", keep="good").counts_ng.shape == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"counts": "layers/counts"}, "has no layers/counts"),
        ({"counts": "raw"}, "has no raw/var"),
        ({"keep": "nothing > 1"}, "condition 'nothing > 1' on obs fails"),
    ],
    ids=["layer", "raw", "condition"],
)
def test_what_the_file_lacks(tmp_path, arguments, words):
    cells().write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(WcedError, match=words):
        read_h5ad(tmp_path / "x.h5ad", **arguments)


@pytest.mark.parametrize("kind", ["text", "truncated", "missing", "foreign"])
def test_no_h5ad_file(tmp_path, kind):
    path = tmp_path / "x.h5ad"
    if kind == "text":
        path.write_text("cell\tgene\n")
    elif kind == "truncated":
        cells().write_h5ad(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "foreign":
        with h5py.File(path, "w") as file:
            file["matrix"] = COUNTS
    words = {"missing": "no such file", "foreign": "has no obs"}.get(kind, "not an h5ad file, or a truncated one")
    with pytest.raises(WcedError, match=words) as error:
        read_obs(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)

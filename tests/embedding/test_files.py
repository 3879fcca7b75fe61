import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from wced.embedding.files import Facts, concatenate, read_embedding, read_external, write_embedding
from wced.errors import WcedError

FACTS = {"model": "m", "dataset": "d", "n_params": 7, "leakage": "none"}
FITTED = "fitted on these cells, unlabelled"


@pytest.fixture
def obs():
    return pd.DataFrame({"batch": pd.Categorical(["x", "y", "x"])}, index=["c2", "c0", "c1"])


@pytest.fixture
def write(tmp_path, obs):
    """Return a function that writes an embedding of three cells, with changes of its facts or obs."""

    def write(name, embedding_nd, rows=(0, 1, 2), **changes):
        write_embedding(tmp_path / name, embedding_nd, obs.iloc[list(rows)], **FACTS | changes)
        return tmp_path / name

    return write


def test_written_and_read_again(write, obs):
    embedding_nd = np.arange(6, dtype=np.float32).reshape(3, 2)
    read = read_embedding(write("e.h5ad", embedding_nd))
    assert (embedding_nd == read.X).all() and read.X.dtype == np.float32
    assert read.uns["wced"] == {**FACTS, "width": 2, "pooling": "none", "source": "here", "space": "common"}
    assert Facts.of(read) == Facts(**FACTS, width=2)
    pd.testing.assert_frame_equal(read.obs, obs)


def test_the_same_embedding_is_the_same_file(write):
    one, other = (write(f"{folder}/e.h5ad", np.ones((3, 2))) for folder in "ab")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("embedding_nd", "message"),
    [([[1, 1], [1, np.nan], [1, 1]], "1 cells is not finite"), (np.ones((2, 2)), "3 cells")],
    ids=["not finite", "shape"],
)
def test_values_that_do_not_fit_are_not_written(write, tmp_path, embedding_nd, message):
    with pytest.raises(WcedError, match=message):
        write("e.h5ad", embedding_nd)
    assert not (tmp_path / "e.h5ad").exists()


def test_a_file_that_is_no_embedding_is_refused(write, obs, tmp_path):
    ad.AnnData(X=np.ones((3, 2), dtype=np.float32), obs=obs).write_h5ad(tmp_path / "e.h5ad")
    with pytest.raises(WcedError, match="no model"):
        read_embedding(tmp_path / "e.h5ad")
    with pytest.raises(WcedError, match="no such file"):
        read_embedding(tmp_path / "none.h5ad")
    with pytest.raises(WcedError, match="says space outer, which is neither common nor dataset"):
        read_embedding(write("e.h5ad", np.ones((3, 2)), space="outer"))


def test_a_concatenation_has_the_values_side_by_side_and_the_sum_of_the_facts(write, obs, tmp_path):
    fitted = {"genes": 3, "gene_names": "var_names"}
    parts = [
        write("a.h5ad", np.zeros((3, 2))),
        write("b.h5ad", np.ones((3, 1)), leakage=FITTED, pooling="cls+mean", input=fitted),
    ]
    assert read_embedding(parts[1]).uns["wced"]["input"] == fitted
    concatenate(tmp_path / "c.h5ad", parts, model="both")
    both = read_embedding(tmp_path / "c.h5ad")
    assert both.X.tolist() == [[0, 0, 1]] * 3
    assert both.uns["wced"] == {
        "model": "both", "dataset": "d", "n_params": 14, "width": 3, "leakage": FITTED, "pooling": "none+cls+mean",
        "source": "here", "space": "common",
    }  # fmt: skip
    pd.testing.assert_frame_equal(both.obs, obs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"rows": [1, 0, 2]}, "its cells are not those", id="other order"),
        pytest.param({"dataset": "other"}, "its dataset is not that", id="other dataset"),
    ],
)
def test_concatenation_refuses_other_cells(write, tmp_path, changes, message):
    parts = [write("a.h5ad", np.zeros((3, 2))), write("b.h5ad", np.ones((3, 1)), **changes)]
    with pytest.raises(WcedError, match=message):
        concatenate(tmp_path / "c.h5ad", parts, model="both")


CELLS = pd.Index(["c0", "c1", "c2", "c3"])
VALUES = np.arange(8, dtype=np.float64).reshape(4, 2) - 3
BAD = VALUES.copy()
BAD[2, 1] = np.inf


def external(path, names=CELLS, values=VALUES, **more):
    ad.AnnData(values, obs=pd.DataFrame(index=names), **more).write_h5ad(path / "e.h5ad")
    return path / "e.h5ad"


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]], ids=["as the dataset", "another order"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_cells_from_elsewhere_come_in_the_order_of_the_dataset(tmp_path, order, kind):
    embedding_nd = read_external(external(tmp_path, CELLS[order], kind(VALUES[order])), CELLS, "d")
    assert (embedding_nd == VALUES).all() and embedding_nd.dtype == np.float32


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame], ids=["array", "frame"])
def test_obsm(tmp_path, kind):
    order = [2, 0, 3, 1]
    values = kind(VALUES[order], index=CELLS[order], columns=["a", "b"]) if kind is pd.DataFrame else VALUES[order]
    path = external(tmp_path, CELLS[order], np.zeros((4, 1)), obsm={"X_other": values})
    assert (read_external(path, CELLS, "d", "obsm/X_other") == VALUES).all()


@pytest.mark.parametrize(
    ("names", "values", "key", "message"),
    [
        (CELLS[:3], VALUES[:3], "X", "has no cell c3 of d; 1 of its 4 are missing"),
        (["c0", "c1", "c2", "C3"], VALUES, "X", "has no cell c3 of d; 1 of its 4"),
        ([*CELLS, "c9"], np.ones((5, 2)), "X", "cell c9 is not in d; 1 cells are too many"),
        (["c0", "c1", "c1", "c2"], VALUES, "X", "cell c1 is duplicated"),
        (CELLS, BAD, "X", "the embedding of cell c2 is not finite"),
        (CELLS, VALUES, "obsm/X_pca", "there is no obsm/X_pca; obsm has nothing"),
        (CELLS, np.ones((4, 0)), "X", "X is no matrix of cells × dimensions"),
    ],
    ids=["missing", "misspelt", "extra", "duplicated", "infinite", "no such key", "no dimension"],
)
def test_what_does_not_fit_the_dataset_is_refused_by_name(tmp_path, names, values, key, message):
    with pytest.raises(WcedError, match=rf"e\.h5ad: {message}"):
        read_external(external(tmp_path, names, values), CELLS, "d", key)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WcedError, match="no such file; expected an embedding made elsewhere"):
        read_external(tmp_path / "none.h5ad", CELLS, "d")

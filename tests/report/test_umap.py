import numpy as np
import pandas as pd
import pytest

from wced.embedding.files import write_embedding
from wced.errors import WcedError
from wced.report.umap import umaps


@pytest.fixture(scope="module")
def embedding(tmp_path_factory):
    path = tmp_path_factory.mktemp("umap") / "m.h5ad"
    rng = np.random.default_rng(0)
    x_nd = rng.normal(size=(60, 3)) + np.repeat([[0], [50]], 30, axis=0)
    obs = pd.DataFrame({"cell_type": ["T", "B"] * 30, "batch": "x"}, index=[f"c{i}" for i in range(60)])
    write_embedding(path, x_nd, obs, model="m", dataset="d", n_params=0, leakage="none")
    return path


def test_groups_stay_apart_and_the_seed_decides(embedding):
    table = umaps([embedding], neighbours=10, seed=0)
    assert table["cell"].tolist()[:2] == ["c0", "c1"] and set(table["model"]) == {"m"}
    xy = table[["umap_1", "umap_2"]].to_numpy()
    distances = np.linalg.norm(xy[:, None] - xy, axis=2)
    assert distances[:30, 30:].min() > distances[:30, :30].max()
    pd.testing.assert_frame_equal(table, umaps([embedding], neighbours=10, seed=0))
    assert not np.allclose(xy, umaps([embedding], neighbours=10, seed=1)[["umap_1", "umap_2"]])


def test_too_few_cells_are_refused(embedding):
    with pytest.raises(WcedError, match="60 neighbours of 60 cells"):
        umaps([embedding], neighbours=60, seed=0)


@pytest.mark.release(part="scale")
def test_many_cells_have_a_layout(tmp_path):
    """Above 4,096 cells scanpy searches neighbours with another library."""
    n = 4200
    obs = pd.DataFrame({"cell_type": "T", "batch": "x"}, index=[f"c{i}" for i in range(n)])
    x_nd = np.random.default_rng(0).normal(size=(n, 3))
    write_embedding(tmp_path / "m.h5ad", x_nd, obs, model="m", dataset="d", n_params=0, leakage="none")
    table = umaps([tmp_path / "m.h5ad"], neighbours=10, seed=0)
    assert len(table) == n and np.isfinite(table[["umap_1", "umap_2"]].to_numpy()).all()

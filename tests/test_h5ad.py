import anndata as ad
import h5py
import numpy as np
import pytest

from wced import h5ad
from wced.errors import WcedError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "cells.h5ad"
    ad.AnnData(np.eye(300, dtype=np.float32)).write_h5ad(path)
    return path


def test_cells_are_read(path):
    assert h5ad.read(path).shape == (300, 300)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file; expected an h5ad file"),
        (lambda path: path.write_text("cells"), "not an h5ad file, or a truncated one"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "not an h5ad file, or a truncated one"),
    ],
    ids=["missing", "text", "truncated"],
)
def test_what_is_no_h5ad_is_refused_by_name(path, spoil, message):
    spoil(path)
    with pytest.raises(WcedError, match=f"{path.name}: {message}") as refusal:
        h5ad.read(path)
    assert "\n" not in str(refusal.value)


def test_a_field_larger_than_memory_is_refused_unless_it_stays_on_disk(path):
    with h5py.File(path, "a") as file:
        del file["X"]
        huge = file.create_dataset("X", shape=(10**7, 10**7), dtype="f4", chunks=(100, 100))
        huge.attrs["encoding-type"], huge.attrs["encoding-version"] = "array", "0.2.0"
        with pytest.raises(WcedError, match=r"\.h5ad: X would take 400,000\.0 GB of memory, and .* GB are free$"):
            h5ad.refuse_oversized(file, path)
        h5ad.refuse_oversized(file, path, on_disk=["X"])

"""Files of 10x's Cell Ranger: h5 files of versions 2 and 3, and folders of a matrix and two tables."""

import csv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.io import mminfo, mmread

from wced.corpus import matrices
from wced.corpus.opening import opened
from wced.corpus.published import Published
from wced.errors import WcedError, one_line
from wced.tables import read_text


def open_h5(path: Path) -> Published:
    """Open what `scanpy.read_10x_h5` would read as a whole; the three arrays are the rows of cells × features."""

    def text(values: h5py.Dataset) -> np.ndarray:
        return values[:].astype(str).astype(object)

    with opened(path, "10x_h5") as file:
        group = "matrix" if "matrix" in file else _genome(file, path)
        try:
            cells, source = text(file[group]["barcodes"]), file[group]
            if group == "matrix":
                source = source["features"]
                # Of probes (Flex), each names its gene.
                ids = text(source["gene_id"] if "gene_id" in source else source["id"])
                names, kinds = text(source["name"]), text(source["feature_type"])
            else:
                ids, names, kinds = text(source["genes"]), text(source["gene_names"]), None
            shape = matrices.shape_of(file[group])
        except (KeyError, OSError, TypeError, ValueError) as failure:
            raise WcedError(f"{path}: a damaged 10x file: {one_line(failure)}") from None

    @contextmanager
    def stored() -> Iterator[matrices.Stored]:
        with opened(path, "10x_h5") as file:
            yield file[group]

    return _of_10x(path, shape, cells, ids, names, kinds, stored)


def _genome(file: h5py.File, path: Path) -> str:
    """Return the one genome of a Cell Ranger 2 file."""
    if len(genomes := list(file)) == 1:
        return genomes[0]
    raise WcedError(f"{path}: holds several genomes ({', '.join(genomes)}); write each to a file of its own")


def open_mtx(path: Path) -> Published:
    """Read what `scanpy.read_10x_mtx` reads, and the combinations of gzipped and plain files that it does not know."""
    if not path.is_dir():
        raise WcedError(f"{path}: is a file; format 10x_mtx is a folder of matrix.mtx, features.tsv and barcodes.tsv")
    layout = {"header": None, "quoting": csv.QUOTE_NONE}
    features = read_text(_one_of(path, "features.tsv", "genes.tsv"), "a table of features", **layout)
    barcodes = read_text(_one_of(path, "barcodes.tsv"), "a table of barcodes", **layout)
    matrix = _one_of(path, "matrix.mtx")
    try:
        n_features, n_cells = mminfo(matrix)[:2]
    except (ValueError, OSError, EOFError, OverflowError) as failure:
        raise WcedError(f"{matrix}: cannot be read as a Matrix Market file: {one_line(failure)}") from None
    if features.shape[1] < 2:
        raise WcedError(f"{path}: its genes have one column; expected ids and symbols")
    kinds = features[2].to_numpy() if features.shape[1] > 2 else None

    @contextmanager
    def stored() -> Iterator[matrices.Stored]:
        yield sparse.csr_matrix(mmread(matrix).T)

    ids, names = features[0].to_numpy(), features[1].to_numpy()
    return _of_10x(path, (n_cells, n_features), barcodes[0].to_numpy(), ids, names, kinds, stored)


def _one_of(folder: Path, *names: str) -> Path:
    wanted = [name + suffix for name in names for suffix in ("", ".gz")]
    for name in wanted:
        if (folder / name).is_file():
            return folder / name
    raise WcedError(f"{folder}: has no {' or '.join(wanted)}")


def _of_10x(
    path: Path,
    shape: tuple[int, int],
    cells: np.ndarray,
    ids: np.ndarray,
    names: np.ndarray,
    kinds: np.ndarray | None,
    stored: Callable[[], AbstractContextManager[matrices.Stored]],
) -> Published:
    if shape != (len(cells), len(ids)):
        raise WcedError(
            f"{path}: the matrix is {shape[1]} × {shape[0]}, but there are {len(ids)} features and "
            f"{len(cells)} barcodes"
        )
    var = pd.DataFrame({"gene_symbols": names}, index=ids)
    if kinds is not None:
        var["feature_types"] = kinds
    return Published(f"{path}", pd.DataFrame(index=cells), var, stored)

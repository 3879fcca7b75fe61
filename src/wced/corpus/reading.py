"""Opening published files: counts in any format, AnnData, and tables of labels."""

import csv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem
from scipy import sparse
from scipy.io import mminfo, mmread

from wced import h5ad
from wced.corpus import matrices
from wced.corpus.published import Candidates, Published, advice, elsewhere
from wced.errors import WcedError, one_line
from wced.files import existing
from wced.tables import read_text


def read_labels(path: str | Path) -> pd.DataFrame:
    """Return a table of cells by their names: obs of an h5ad file, or a .csv or .tsv with names first."""
    kind = next((suffix for suffix in (".csv", ".tsv") if suffix in Path(path).suffixes), None)
    if kind is None:
        with _opened(path, "h5ad") as file:
            return _data_frame(file, "obs", path)
    return read_text(path, "a table", sep="," if kind == ".csv" else "\t", index_col=0).rename_axis(None)


def open_counts(path: str | Path, format: str = "h5ad", counts: str = "X", values: str = "counts") -> Published:
    """Open a file of counts without reading them. Features that are no genes are left out.

    The format is `h5ad` (of any version of anndata), `10x_h5` (of Cell Ranger 2 or 3) or `10x_mtx` (a folder with
    matrix.mtx, genes.tsv or features.tsv, and barcodes.tsv, each possibly gzipped). An h5ad file has its `counts` in
    `X`, `raw` (with the genes of raw) or `layers/NAME`. `values` are `counts`, or `log1p_10k`, which become counts.
    Raises WcedError if the file is of another format or damaged, lacks the matrix, or holds no cells or no genes.
    """
    path = existing(path, f"counts in the format {format}")
    published = {"h5ad": partial(_h5ad, counts=counts), "10x_h5": _10x_h5, "10x_mtx": _10x_mtx}[format](path)
    for table, what in ((published.obs, "cells"), (published.var, "genes")):
        if len(table) == 0:
            raise WcedError(f"{path}: has no {what}")
    return replace(published.of_genes(), values=values)


def of_anndata(adata: AnnData, layer: str | None = None, use_raw: bool = False) -> Published:
    """Return the counts of an AnnData, in memory or backed by its file: X, a layer, or `adata.raw` with its genes.

    Raises WcedError if it is something else than an AnnData, or lacks the matrix.
    """
    if not isinstance(adata, AnnData):
        raise WcedError(
            f"expected an AnnData, not {type(adata).__name__}: of a MuData give its RNA, of a path the file read"
        )
    if use_raw and layer is not None:
        raise WcedError(f"layer {layer} and use_raw: only one of them can be asked for")
    if use_raw and adata.raw is None:
        raise WcedError("raw: the AnnData has none")
    if layer is not None and layer not in adata.layers:
        raise WcedError(f"layers: there is no {layer}; there are {', '.join(adata.layers) or 'none'}")
    where = "raw.X" if use_raw else "X" if layer is None else f"layers[{layer!r}]"
    candidates: Candidates = {
        f"layers[{name!r}]": (lambda name=name: _stored(adata.layers[name]), f"set layer to {name} (--layer {name})")
        for name in adata.layers
    }
    candidates["X"] = lambda: _stored(_x(adata)), "ask for no layer and not for raw"
    if adata.raw is not None:
        candidates["raw.X"] = lambda: _stored(adata.raw.X), "set use_raw (--raw)"
    stored = candidates[where][0]()
    if stored is None:
        raise WcedError(f"has no {where}, where counts were expected{elsewhere(where, candidates)}")
    var = (adata.raw if use_raw else adata).var
    of_matrix = partial(advice, here=where, candidates=candidates)
    return Published(where, adata.obs, var, lambda: nullcontext(stored), advice=of_matrix).of_genes()


def _x(adata: AnnData) -> Any:
    """Return X, None where there is none; an AnnData that its file backs raises KeyError."""
    try:
        return adata.X
    except KeyError:
        return None


def _stored(matrix: Any) -> matrices.Stored | None:
    """Return a matrix of an AnnData in a form that `matrices` reads: a group of its file, or an array."""
    if isinstance(group := getattr(matrix, "group", None), h5py.Group):
        return group
    matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
    return sparse.csr_matrix(matrix) if sparse.issparse(matrix) else matrix


def _opened(path: str | Path, format: str) -> h5py.File:
    """Open an HDF5 file to read; raise WcedError naming its format if that is not `h5ad` or `10x_h5` as wanted."""
    try:
        file = h5py.File(existing(path, f"a file of the format {format}"), "r")
    except OSError as failure:
        raise WcedError(f"{path}: not an HDF5 file ({format} is one), or a truncated one: {failure}") from None
    actual = h5ad.format_of(file)
    if actual == format:
        return file
    file.close()
    remedies = h5ad.REMEDIES | {name: f"set format to {name}" for name in ("h5ad", "10x_h5")}
    remedy = f"; {remedies[actual]}" if actual in remedies else ""
    raise WcedError(f"{path}: not a file of the format {format} but {actual}{remedy}")


@contextmanager
def _matrix(path: Path, format: str, key: str) -> Iterator[matrices.Stored]:
    """Give a matrix of an HDF5 file while the block runs."""
    with _opened(path, format) as file:
        yield file[key]


def _h5ad(path: Path, counts: str) -> Published:
    matrix, genes = ("raw/X", "raw/var") if counts == "raw" else (counts, "var")

    def candidates(file: h5py.File) -> Candidates:
        names = ["X", "raw", *(f"layers/{name}" for name in file.get("layers", {}))]
        keys = {name: "raw/X" if name == "raw" else name for name in names}
        return {name: (lambda key=key: file[key], f"set counts to {name}") for name, key in keys.items()}

    def of_matrix(x_ng: sparse.csr_matrix) -> str:
        with _opened(path, "h5ad") as file:
            return advice(x_ng, counts, candidates(file))

    with _opened(path, "h5ad") as file:
        obs = _data_frame(file, "obs", path)
        if matrix not in file:
            missing = elsewhere(counts, candidates(file))
            raise WcedError(f"{path}: has no {counts}, where counts were expected{missing}")
        var = _data_frame(file, genes, path)
        try:
            shape = matrices.shape_of(file[matrix])
        except Exception as failure:  # whatever anndata says of a group that is no matrix
            raise WcedError(f"{path}, {counts} cannot be read: {one_line(failure)}") from None
    if shape != (len(obs), len(var)):
        raise WcedError(
            f"{path}: {counts} is {shape[0]} × {shape[1]}, but there are {len(obs)} cells and {len(var)} genes"
        )
    return Published(f"{path}, {counts}", obs, var, partial(_matrix, path, "h5ad", matrix), advice=of_matrix)


def _data_frame(file: h5py.File, key: str, path: str | Path) -> pd.DataFrame:
    """Return obs or var of an open h5ad file of any version of anndata; its index is text."""
    if key not in file:
        raise WcedError(f"{path}: has no {key}; expected an h5ad file with it")
    if isinstance(file[key], h5py.Group):
        h5ad.refuse_oversized(file[key], path)
    try:
        frame = read_elem(file[key])
        if isinstance(frame, np.ndarray):
            frame = _old_frame(frame, file)
    except Exception as failure:  # anndata wraps whatever went wrong in errors of its own
        raise WcedError(f"{path}: {key} cannot be read: {one_line(failure)}") from None
    frame.index = frame.index.astype(str)
    return frame


def _old_frame(array: np.ndarray, file: h5py.File) -> pd.DataFrame:
    """Return a data frame as before anndata 0.7: one compound array, its first field the index, categories in uns."""

    def text(values: np.ndarray) -> list[object]:
        return [value.decode() if isinstance(value, bytes) else value for value in values]

    frame = pd.DataFrame.from_records(array)
    for name in frame.columns:
        if f"uns/{name}_categories" in file:
            categories = text(file[f"uns/{name}_categories"][:])
            frame[name] = pd.Categorical.from_codes(frame[name], categories)
        elif frame[name].dtype == object:
            frame[name] = text(frame[name])
    return frame.set_index(frame.columns[0])


def _10x_h5(path: Path) -> Published:
    """Open what `scanpy.read_10x_h5` would read as a whole; the three arrays are the rows of cells × features."""

    def text(values: h5py.Dataset) -> np.ndarray:
        return values[:].astype(str).astype(object)

    with _opened(path, "10x_h5") as file:
        genomes = ["matrix"] if "matrix" in file else list(file)
        if len(genomes) > 1:
            raise WcedError(f"{path}: holds several genomes ({', '.join(genomes)}); write each to a file of its own")
        group = genomes[0]
        try:
            cells, features = text(file[group]["barcodes"]), file[group]
            kinds = None
            if group == "matrix":
                features = features["features"]
                # Of probes (Flex), each names its gene.
                ids, names = text(features["gene_id" if "gene_id" in features else "id"]), text(features["name"])
                kinds = text(features["feature_type"])
            else:
                ids, names = text(features["genes"]), text(features["gene_names"])
            shape = matrices.shape_of(file[group])
        except (KeyError, OSError, TypeError, ValueError) as failure:
            raise WcedError(f"{path}: a damaged 10x file: {one_line(failure)}") from None
    return _of_10x(path, shape, cells, ids, names, kinds, partial(_matrix, path, "10x_h5", group))


def _10x_mtx(path: Path) -> Published:
    """Read what `scanpy.read_10x_mtx` reads, and the combinations of gzipped and plain files that it does not know."""
    if not path.is_dir():
        raise WcedError(f"{path}: is a file; format 10x_mtx is a folder of matrix.mtx, features.tsv and barcodes.tsv")

    def one_of(*names: str) -> Path:
        candidates = [name + suffix for name in names for suffix in ("", ".gz")]
        for name in candidates:
            if (path / name).is_file():
                return path / name
        raise WcedError(f"{path}: has no {' or '.join(candidates)}")

    layout = {"header": None, "quoting": csv.QUOTE_NONE}
    features = read_text(one_of("features.tsv", "genes.tsv"), "a table of features", **layout)
    barcodes = read_text(one_of("barcodes.tsv"), "a table of barcodes", **layout)
    matrix = one_of("matrix.mtx")
    try:
        n_features, n_cells = mminfo(matrix)[:2]
    except (ValueError, OSError, EOFError, OverflowError) as failure:
        raise WcedError(f"{matrix}: cannot be read as a Matrix Market file: {one_line(failure)}") from None
    if features.shape[1] < 2:
        raise WcedError(f"{path}: its genes have one column; expected ids and symbols")
    ids, names, kinds = (features[i].to_numpy() if i in features else None for i in range(3))

    @contextmanager
    def stored() -> Iterator[matrices.Stored]:
        yield sparse.csr_matrix(mmread(matrix).T)

    return _of_10x(path, (n_cells, n_features), barcodes[0].to_numpy(), ids, names, kinds, stored)


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

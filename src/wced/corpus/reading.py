"""Opening what a dataset is published as: files of counts in any format, and tables of labels."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from anndata import AnnData
from scipy import sparse

from wced.corpus import diagnosis, matrices, tenx
from wced.corpus.opening import data_frame, opened
from wced.corpus.published import Published
from wced.errors import WcedError, one_line
from wced.files import existing
from wced.tables import read_text


def read_labels(path: str | Path) -> pd.DataFrame:
    """Return a table of cells, indexed by their names: obs of an h5ad file, or a .csv or .tsv with names first.

    Raises
    ------
    WcedError
        If the file is neither, or is damaged.
    """
    kind = next((suffix for suffix in (".csv", ".tsv") if suffix in Path(path).suffixes), None)
    if kind is None:
        with opened(path, "h5ad") as file:
            return data_frame(file, "obs", path)
    return read_text(path, "a table", sep="," if kind == ".csv" else "\t", index_col=0).rename_axis(None)


def open_counts(path: str | Path, format: str = "h5ad", counts: str = "X", values: str = "counts") -> Published:
    """Open a file of counts; the counts themselves are not read yet. Features that are no genes are left out.

    Parameters
    ----------
    path
        An h5ad file (of any version of anndata), a 10x h5 file (of Cell Ranger 2 or 3), or a folder with 10x's
        matrix.mtx, genes.tsv or features.tsv, and barcodes.tsv, each possibly gzipped.
    format
        `h5ad`, `10x_h5` or `10x_mtx`.
    counts
        In an h5ad file: `X`, `raw` (whose own genes are then taken) or `layers/NAME`.
    values
        What stands there: `counts`, or `log1p_10k`, of which counts are given back.

    Raises
    ------
    WcedError
        If the file is not of this format or damaged, lacks what was asked for, or holds no cells or no genes.
    """
    path = existing(path, f"counts in the format {format}")
    if format == "10x_mtx":
        published = tenx.open_mtx(path)
    else:
        published = tenx.open_h5(path) if format == "10x_h5" else _h5ad(path, counts)
    for table, what in ((published.obs, "cells"), (published.var, "genes")):
        if len(table) == 0:
            raise WcedError(f"{path}: has no {what}")
    return replace(published.of_genes(), values=values)


def of_anndata(adata: AnnData, layer: str | None = None, use_raw: bool = False) -> Published:
    """Return the counts of an AnnData, in memory or backed by its file; what its file is called is not known.

    Parameters
    ----------
    adata
        Cells × genes.
    layer
        Layer that holds the counts; None for X.
    use_raw
        Whether counts and genes are those of `adata.raw`.

    Raises
    ------
    WcedError
        If it is something else than an AnnData, or lacks what was asked for.
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
    places: diagnosis.Places = {
        f"layers[{name!r}]": (lambda name=name: _stored(adata.layers[name]), f"set layer to {name} (--layer {name})")
        for name in adata.layers
    }
    places["X"] = lambda: _stored(_x(adata)), "ask for no layer and not for raw"
    if adata.raw is not None:
        places["raw.X"] = lambda: _stored(adata.raw.X), "set use_raw (--raw)"
    stored = places[where][0]()
    if stored is None:
        raise WcedError(f"has no {where}, where counts were expected{diagnosis.elsewhere(where, places)}")
    var = (adata.raw if use_raw else adata).var
    return Published(
        where, adata.obs, var, lambda: nullcontext(stored), advice=partial(diagnosis.advice, here=where, places=places)
    ).of_genes()


def _x(adata: AnnData) -> Any:
    """Return X, None where there is none; anndata asks a file that backs it."""
    try:
        return adata.X
    except KeyError:
        return None


def _stored(matrix: Any) -> matrices.Stored | None:
    """Return what a matrix of an AnnData is for `matrices`: a group of its file, or an array."""
    if isinstance(group := getattr(matrix, "group", None), h5py.Group):
        return group
    matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
    return sparse.csr_matrix(matrix) if sparse.issparse(matrix) else matrix


def _h5ad(path: Path, counts: str) -> Published:
    place, genes = ("raw/X", "raw/var") if counts == "raw" else (counts, "var")

    @contextmanager
    def stored() -> Iterator[matrices.Stored]:
        with opened(path, "h5ad") as file:
            yield file[place]

    def advice(x_ng: sparse.csr_matrix) -> str:
        with opened(path, "h5ad") as file:
            return diagnosis.advice(x_ng, counts, _places(file))

    with opened(path, "h5ad") as file:
        obs = data_frame(file, "obs", path)
        if place not in file:
            missing = diagnosis.elsewhere(counts, _places(file))
            raise WcedError(f"{path}: has no {counts}, where counts were expected{missing}")
        var = data_frame(file, genes, path)
        try:
            shape = matrices.shape_of(file[place])
        except Exception as failure:  # whatever anndata says of a group that is no matrix
            raise WcedError(f"{path}, {counts} cannot be read: {one_line(failure)}") from None
    if shape != (len(obs), len(var)):
        raise WcedError(
            f"{path}: {counts} is {shape[0]} × {shape[1]}, but there are {len(obs)} cells and {len(var)} genes"
        )
    return Published(f"{path}, {counts}", obs, var, stored, advice=advice)


def _places(file: h5py.File) -> diagnosis.Places:
    names = ["X", "raw", *(f"layers/{name}" for name in file.get("layers", {}))]
    keys = {name: "raw/X" if name == "raw" else name for name in names}
    return {name: (lambda key=key: file[key], f"set counts to {name}") for name, key in keys.items()}

"""Opening what a dataset is published as: files of counts in any format, and tables of labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from wced.corpus import diagnosis, matrices, tenx
from wced.corpus.opening import data_frame, one_line, opened, text_table
from wced.corpus.published import Published
from wced.errors import WcedError
from wced.files import existing


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
    return text_table(path, sep="," if kind == ".csv" else "\t", index_col=0).rename_axis(None)


def open_counts(path: str | Path, format: str = "h5ad", counts: str = "X", values: str = "counts") -> Published:
    """Open a file of counts; the counts themselves are not read yet.

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
        What stands there: `counts`, or `log1p_10k`, of which counts are made.

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
    return replace(published, values=values)


def _h5ad(path: Path, counts: str) -> Published:
    place, genes = ("raw/X", "raw/var") if counts == "raw" else (counts, "var")

    @contextmanager
    def stored() -> Iterator[matrices.Stored]:
        with opened(path, "h5ad") as file:
            yield file[place]

    with opened(path, "h5ad") as file:
        obs = data_frame(file, "obs", path)
        if place not in file:
            raise WcedError(f"{path}: has no {counts}, where counts were expected{diagnosis.elsewhere(file, counts)}")
        var = data_frame(file, genes, path)
        try:
            shape = matrices.shape_of(file[place])
        except Exception as failure:  # whatever anndata says of a group that is no matrix
            raise WcedError(f"{path}, {counts} cannot be read: {one_line(failure)}") from None
    if shape != (len(obs), len(var)):
        raise WcedError(
            f"{path}: {counts} is {shape[0]} × {shape[1]}, but there are {len(obs)} cells and {len(var)} genes"
        )
    return Published(f"{path}, {counts}", obs, var, stored, advice=partial(diagnosis.of_file, path, counts))

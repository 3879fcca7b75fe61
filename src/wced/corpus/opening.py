"""Opening HDF5 files, or saying in one sentence why not."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem

from wced import h5ad
from wced.errors import WcedError, one_line
from wced.files import existing


def opened(path: str | Path, format: str) -> h5py.File:
    """Open an HDF5 file that must be of a format (`h5ad` or `10x_h5`), to read; the caller closes it.

    Raises
    ------
    WcedError
        If it is not there, is no HDF5 file, is truncated, or is of another format, which is named.
    """
    try:
        file = h5py.File(existing(path, f"a file of the format {format}"), "r")
    except OSError as failure:
        raise WcedError(f"{path}: not an HDF5 file ({format} is one), or a truncated one: {failure}") from None
    found = h5ad.format_of(file)
    if found == format:
        return file
    file.close()
    remedies = h5ad.REMEDIES | {name: f"set format to {name}" for name in ("h5ad", "10x_h5")}
    advice = f"; {remedies[found]}" if found in remedies else ""
    raise WcedError(f"{path}: not a file of the format {format} but {found}{advice}")


def data_frame(file: h5py.File, key: str, path: str | Path) -> pd.DataFrame:
    """Return obs or var of an open h5ad file of any version of anndata; its index is text.

    Raises
    ------
    WcedError
        If it is not there or cannot be read.
    """
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
    """Return a data frame of before anndata 0.7: one compound array, its first field the index, categories in uns."""

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

"""Read an h5ad file, or say in one sentence why not."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import anndata as ad
import h5py
import psutil

from wced.errors import WcedError, one_line
from wced.files import existing

_NOTE = re.compile(r"Error raised while reading key '(?P<key>.*)' of .* from /(?P<group>.*)")
"""What anndata adds to an error; it names the field."""

REMEDIES = {
    "MuData": "write its RNA as h5ad, e.g. mudata.read(PATH)['rna'].write_h5ad(NEW)",
    "loom": "write it as h5ad, e.g. by anndata.io.read_loom",
    "10x_h5": "write it as h5ad, e.g. by scanpy.read_10x_h5",
}
"""What to do with a file of another format."""


def read(path: str | Path, what: str = "an h5ad file", *, backed: Literal["r"] | None = None) -> ad.AnnData:
    """Return the content of an h5ad file; with `backed="r"` X stays on disk.

    WcedError is raised if the file is missing (the sentence says that `what` was expected), of another format or
    truncated, or has a field of a kind that anndata does not know (no pickle is ever opened) or that is larger than the
    free memory.
    """
    path = existing(path, what)
    try:
        with h5py.File(path) as file:
            if (kind := format_of(file)) in REMEDIES:
                raise WcedError(f"{path}: not a file of the format h5ad but {kind}; {REMEDIES[kind]}")
            refuse_oversized(file, path, on_disk=() if backed is None else ("X", "raw/X"))
        return ad.read_h5ad(path, backed=backed)
    except WcedError:
        raise
    except Exception as failure:  # anndata passes on whatever goes wrong inside
        text = one_line(failure)
        for note in map(_NOTE.search, getattr(failure, "__notes__", [])):
            if note:
                field = f"{note['group']}/{note['key']}".lstrip("/")
                raise WcedError(f"{path}: {field} cannot be read: {text}") from None
        raise WcedError(f"{path}: not an h5ad file, or a truncated one: {text}") from None


def format_of(file: h5py.File) -> str:
    """Return the format of an open HDF5 file: `h5ad`, one of `REMEDIES`, or words about what is in it."""
    if "mod" in file:
        return "MuData"
    if "obs" in file and "var" in file:
        return "h5ad"
    if "row_attrs" in file:
        return "loom"
    if any("barcodes" in value for value in file.values() if isinstance(value, h5py.Group)):
        return "10x_h5"
    return f"another HDF5 file, with {', '.join(list(file)[:5]) or 'nothing'} in it"


def refuse_oversized(group: h5py.Group, path: str | Path, on_disk: Collection[str] = ()) -> None:
    """Raise WcedError naming a field of `group` that would take more memory than there is; its values are not read.

    A few bytes of a file can stand for any number of values, which would end in a killed process. Fields in `on_disk`
    are not read into memory.
    """
    free = psutil.virtual_memory().available

    def look(name: str, field: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(field, h5py.Dataset) or field.nbytes <= free:
            return
        name = field.name.lstrip("/")
        if not any(name == kept or name.startswith(f"{kept}/") for kept in on_disk):
            raise WcedError(
                f"{path}: {name} would take {field.nbytes / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free"
            )

    group.visititems(look)

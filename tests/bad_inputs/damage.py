"""Damage to the files of a small run, for cases.yaml; every path is relative to the current folder."""

import json
import pickle
import tarfile
import zipfile
from functools import reduce
from io import BytesIO
from operator import getitem
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import yaml
from safetensors.numpy import load_file, save_file

from generated import write_table
from wced.files import sha256

OPENED = Path("opened_a_pickle")
"""A file that appears if one of the pickles below is opened."""


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (OPENED,)


PICKLE = pickle.dumps(_Bomb())


def remove(path: str) -> None:
    Path(path).unlink()


def truncate(path: str) -> None:
    with Path(path).open("r+b") as stream:
        stream.truncate(Path(path).stat().st_size * 2 // 3)


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text)


def replace(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new, 1))


def copy(source: str, target: str) -> None:
    Path(target).write_bytes(Path(source).read_bytes())


def swap(one: str, other: str) -> None:
    content = Path(one).read_bytes()
    copy(other, one)
    Path(other).write_bytes(content)


def write_pickle(path: str) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(PICKLE)


def flip_bit(path: str) -> None:
    """Flip a bit in the middle of a shard's counts."""
    content = bytearray(Path(path).read_bytes())
    counts = pa.ipc.open_file(path).read_all()["count"].chunks[0].values.to_numpy().tobytes()
    content[content.index(counts) + len(counts) // 2] ^= 1
    Path(path).write_bytes(content)


def set_config(key: str, value: Any, path: str = "config.yaml") -> None:
    """Set a key of the config, such as `census.version`."""
    config = yaml.safe_load(Path(path).read_text())
    *outer, last = key.split(".")
    reduce(getitem, outer, config)[last] = value
    Path(path).write_text(yaml.safe_dump(config, sort_keys=False))


def drop_config(key: str) -> None:
    config = yaml.safe_load(Path("config.yaml").read_text())
    del config[key]
    Path("config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def set_json(path: str, key: str, value: Any) -> None:
    Path(path).write_text(json.dumps(json.loads(Path(path).read_text()) | {key: value}))


def drop_json(path: str, key: str) -> None:
    record = json.loads(Path(path).read_text())
    del record[key]
    Path(path).write_text(json.dumps(record))


def set_row(dataset: str, changes: dict[str, str]) -> None:
    """Change values in a row of datasets.tsv."""
    frame = pd.read_csv("datasets.tsv", sep="\t", dtype=str, keep_default_na=False)
    rows = {row["dataset"]: row for row in frame.to_dict("records")}
    rows[dataset] |= changes
    write_table(rows, Path("datasets.tsv"))


def from_archive(kind: str, content: str, member: str = "data/cells.h5ad") -> None:
    """Put the dataset held_blood into an archive: whole, with a path that escapes its folder, or as a link."""
    archive = Path(f"archives/cells-1.0.{kind}")
    archive.parent.mkdir()
    cells = Path("held_blood.h5ad").read_bytes()
    entries = {"whole": {"data/cells.h5ad": cells}, "escaping": {"data/../../../escaped.h5ad": cells}, "link": {}}
    if kind == "wheel":
        with zipfile.ZipFile(archive, "w") as file:
            for name, data in entries[content].items():
                file.writestr(name, data)
    else:
        with tarfile.open(archive, "w:gz") as file:
            for name, data in entries[content].items():
                info = tarfile.TarInfo(f"cells-1.0/{name}")
                info.size = len(data)
                file.addfile(info, BytesIO(data))
            if content == "link":
                info = tarfile.TarInfo(f"cells-1.0/{member}")
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                file.addfile(info)
    facts = {"archive": f"cells==1.0:{kind}", "sha256": sha256(archive), "member": member, "path": ""}
    set_row("held_blood", facts)


def edit_h5ad(path: str, what: str) -> None:
    """Change an h5ad file, which stays an HDF5 file."""
    with h5py.File(path, "a") as file:
        if what == "oversized obs":
            column = file["obs"].create_dataset("huge", shape=(10**13,), dtype="f8", chunks=(10**6,))
            _named(column, "array")
            file["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"], "huge"]
        elif what == "oversized uns":
            huge = file.require_group("uns").create_dataset("huge", shape=(10**13,), dtype="f8", chunks=(1000,))
            _named(huge, "array")
        elif what == "pickled uns":
            _named(file.require_group("uns").create_dataset("model", data=np.void(PICKLE)), "pickle")
        elif what == "no obs":
            del file["obs"]
        elif what == "broken counts":
            file["X/indices"][0] = 10**6
        elif what == "broken pointers":
            file["X/indptr"][-1] = 10**9
        elif what == "MuData":
            file.create_group("mod/rna")
        else:
            raise ValueError(what)


def _named(element: h5py.Dataset, kind: str) -> None:
    element.attrs["encoding-type"], element.attrs["encoding-version"] = kind, "0.2.0"


def change_cells(path: str, what: str) -> None:
    """Change the content of an h5ad file."""
    cells = ad.read_h5ad(path)
    if what == "log":
        cells.X = cells.X.log1p()
    elif what == "estimated":
        cells.X = cells.X * 7.3
        cells.X.data += np.linspace(0, 1, cells.X.nnz)
    elif what == "binarised":
        cells.X.data[:] = 1
    elif what == "no X":
        cells = ad.AnnData(obs=cells.obs, var=cells.var, layers={"counts": cells.X})
    elif what == "antibodies":
        cells.var["feature_types"] = "Antibody Capture"
    elif what == "Entrez":
        cells.var_names = [f"{7 * i + 9}" for i in range(cells.n_vars)]
        cells.var = cells.var[[]]
    elif what == "negative":
        cells.X.data[0] = -1
    elif what == "other genes":
        cells.var_names = [f"other{i}" for i in range(cells.n_vars)]
    elif what == "nan":
        cells.X[3] = np.nan
    elif what == "no facts":
        del cells.uns["wced"]
    elif what == "fewer cells":
        cells = cells[:-1].copy()
    elif what == "other names":
        cells.obs_names = [f"other{i}" for i in range(cells.n_obs)]
    elif what == "one name":
        cells.obs_names = ["a", *["b"] * (cells.n_obs - 1)]
    elif what == "unknown term":
        cells.obs["term"] = "CL:9999999"
    else:
        raise ValueError(what)
    cells.write_h5ad(path)


def change_weights(what: str) -> None:
    """Change the weights of the model."""
    path = Path("model/model.safetensors")
    weights = load_file(path)
    name = min(weights)
    if what == "missing":
        del weights[name]
    elif what == "shape":
        weights[name] = np.zeros((*weights[name].shape, 2), np.float32)
    save_file(weights, path, metadata={"format": "pt"})


def change_parquet(path: str, what: str) -> None:
    """Change a Parquet file."""
    table = pq.read_table(path)
    if what == "version":
        table = table.replace_schema_metadata({**table.schema.metadata, b"wced_format_version": b"999"})
    elif what == "fewer rows":
        table = table.slice(1)
    else:
        table = table.drop_columns(what)
    pq.write_table(table, path)


def pickled_npz(path: str) -> None:
    """Write an array of objects, which is a pickle, to an npz file."""
    np.savez(path, cell_n=np.array([_Bomb()], dtype=object))


def change_table(path: str, column: str, value: str | None = None) -> None:
    """Set a column of a TSV to one value, or drop it."""
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    frame = frame.drop(columns=column) if value is None else frame.assign(**{column: value})
    frame.to_csv(path, sep="\t", index=False)

"""The training state, from which a killed training resumes; it is outside every rule's outputs.

`<run>/state/<checkpoint>/<hash>/` holds Lightning's last checkpoint, the weights at step 0, the gene errors of finished
epochs, and a record of the config section, the seed and the shards. The hash is of this record, so state of anything
else is never resumed, and differences can be named. The folder of a finished checkpoint has the same files, of its end,
so a longer training can go on from either.
"""

import hashlib
import io
import json
import pickle
import shutil
import sys
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from wced import tables
from wced.errors import WcedError
from wced.files import sha256, whole_file, whole_folder
from wced.pretraining import FORMAT_VERSION
from wced.pretraining.gene_errors.tables import adopted

EXTENDABLE = ("name", "precision", "checkpoint.epochs", "checkpoint.early_stop", "checkpoint.extend_from")
"""Prefixes of the keys that may differ between a training and the one that it goes on from by `extend_from`."""

_MOST = 8
"""Differences between two trainings that are listed."""


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, of which an incomplete one never replaces the last complete one.

    Lightning itself uses a temporary folder that may be on another disk, from which moving takes a while.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the checkpoint beside `path`, then move it there."""
        stream = io.BytesIO()  # torch.save to a full disk would raise another error than OSError
        torch.save(_unshared(checkpoint), stream)
        with whole_file(path) as temporary:
            temporary.write_bytes(stream.getbuffer())

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return a checkpoint; raise WcedError if it is damaged."""
        damaged = WcedError(f"{path}: the training state is damaged; remove it to begin anew")
        if not zipfile.is_zipfile(path):  # torch would try its old formats
            raise damaged
        try:
            return super().load_checkpoint(path, *arguments, **options)
        except (RuntimeError, pickle.UnpicklingError):
            raise damaged from None


def _unshared(value: Any) -> Any:
    """Return a value whose parts are the same object only where they are equal strings.

    Pickle writes each object once, so equal checkpoints have the same bytes, also after a training was resumed.
    """
    if isinstance(value, dict):
        return {_unshared(key): _unshared(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_unshared(part) for part in value)
    return sys.intern(value) if type(value) is str else value


class Saved:
    """The folder of a training: of its state, or of its finished checkpoint."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "last.ckpt"
        """Lightning's newest checkpoint."""
        self.step_0 = self.folder / "step_0"
        """The checkpoint folder with the weights before the first step."""
        self.section = self.folder / "section.json"
        """The record of what is trained."""

    @property
    def leaves(self) -> dict[str, Any]:
        """Every value of the record, by its keys joined by dots; empty if there is no readable record."""
        try:
            return _leaves(json.loads(self.section.read_text()))
        except (OSError, ValueError):
            return {}


class TrainingState(Saved):
    """The folder of one training's state."""

    def __init__(self, root: str | Path, identity: Mapping[str, Any], index: str | Path) -> None:
        """Name the folder, in the `root` of the checkpoint's states, after a hash of what is trained.

        `identity` is everything in the config that shapes the result, `index` that of the shards, with their checksums.
        """
        record = {"format version": FORMAT_VERSION, "shards/index.json": sha256(index), **identity}
        self.record = json.dumps(record, sort_keys=True)
        super().__init__(Path(root) / hashlib.sha256(self.record.encode()).hexdigest()[:16])

    @property
    def last(self) -> Path | None:
        """Lightning's newest checkpoint; None before the first one."""
        return self.path if self.path.exists() else None

    def others(self) -> list[Saved]:
        """Return the states of other trainings beside this one."""
        folders = sorted(path.parent for path in self.folder.parent.glob("*/last.ckpt"))
        return [Saved(folder) for folder in folders if folder != self.folder]

    def differences(self, saved: Saved) -> dict[str, str]:
        """Return `key: old → new`, by key, for every key in which this training differs from another one."""
        old, new = saved.leaves, _leaves(json.loads(self.record))
        keys = [key for key in sorted(old | new) if key not in old or key not in new or old[key] != new[key]]
        return {key: f"{key}: {_shown(old, key)} → {_shown(new, key)}" for key in keys}

    def unlike(self, saved: Saved) -> str:
        """Return the sentence that says why a state is not resumed, and how its training can go on."""
        start = f"{saved.folder}: the training state there is not resumed, this training begins anew: "
        if not saved.leaves:
            return f"{start}it has no record of what was trained; another version of wced has written it"
        differences = self.differences(saved)
        extend = ""
        if all(key.startswith(EXTENDABLE) for key in differences):
            extend = f", or set extend_from: {saved.folder} in the checkpoint's section"
        start += _listed(differences)
        return f"{start}. It is kept until this one ends; to go on from it, set these back{extend}"

    def extended(self, folder: str | Path) -> Saved:
        """Return the training in another folder, to go on from.

        WcedError is raised if there is none, it is the same one, or it differs in more than its length and precision.
        """
        saved = Saved(folder)
        for path in (saved.path, saved.section, saved.step_0):
            if not path.exists():
                raise WcedError(
                    f"extend_from: {folder} has no {path.name}; name a finished checkpoint (results/RUN/pretraining/"
                    "NAME) or a training state (results/RUN/state/NAME/HASH)"
                )
        differences = self.differences(saved)
        if other := {key: text for key, text in differences.items() if not key.startswith(EXTENDABLE)}:
            allowed = "only epochs, early_stop and precision may differ"
            raise WcedError(f"extend_from: {folder} is of another training, and {allowed}: {_listed(other)}")
        if not differences.keys() - {"name", "checkpoint.extend_from"}:
            raise WcedError(f"extend_from: {folder} is of the same training; ask for more epochs")
        return saved

    def begin(self, extended: Saved | None, name: str) -> None:
        """Make the folder, write the record, and copy step 0 and gene errors of a training that this one extends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.section) as temporary:
            temporary.write_text(self.record + "\n")
        if extended is None:
            return
        with whole_folder(self.step_0) as temporary:
            shutil.copytree(extended.step_0, temporary, dirs_exist_ok=True)
        for table in (tables.GENE_ERRORS, tables.GENE_ERROR_SUMS):
            for path in extended.folder.glob(f"{table.name}*.parquet"):
                adopted(path, name, partial(self.gene_errors, table))

    def gene_errors(self, table: tables.Table, decoder: str, epoch: int) -> Path:
        """Path of the part of a table of gene errors that is of a decoder and an epoch (from 1)."""
        return self.folder / f"{table.name}-{decoder}-{epoch:04d}.parquet"

    def finish(self) -> None:
        """Remove the checkpoint's states, once its folder is written."""
        shutil.rmtree(self.folder.parent)


def _leaves(value: Any, key: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        parts = enumerate(value)
    else:
        return {key: value}
    return {name: leaf for k, part in parts for name, leaf in _leaves(part, f"{key}.{k}".lstrip(".")).items()}


def _shown(leaves: Mapping[str, Any], key: str) -> str:
    text = json.dumps(leaves[key]) if key in leaves else "none"
    return text if len(text) <= 60 else f"{text[:20]}…"


def _listed(differences: Mapping[str, str]) -> str:
    texts = [*differences.values()]
    return "; ".join(texts[:_MOST]) + (f" and {len(texts) - _MOST} more" if len(texts) > _MOST else "")

"""Where a training keeps what it needs to go on after a kill: outside every rule's outputs.

`<run>/state/<checkpoint>/<hash>/` holds Lightning's last checkpoint, the weights at step 0 and the gene errors of
finished epochs. The hash covers the config section, the seed and the shards, so state of anything else is never
resumed.
"""

import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from wced.errors import WcedError
from wced.files import sha256, whole_file
from wced.pretraining import FORMAT_VERSION


class WholeCheckpoints(TorchCheckpointIO):
    """How Lightning writes and reads its checkpoint: one that is cut off never takes the place of the last one.

    Lightning's own goes by a temporary folder that may be on another disk, from where moving takes a while.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the checkpoint beside `path`, and put it there when it is whole."""
        stream = io.BytesIO()  # torch tells of a full disk, when it writes to one itself, in words of its own
        torch.save(checkpoint, stream)
        with whole_file(path) as temporary:
            temporary.write_bytes(stream.getbuffer())

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint; raise WcedError where it is damaged."""
        damaged = WcedError(f"{path}: the training state is damaged; remove it to begin anew")
        if not zipfile.is_zipfile(path):  # torch would try its old formats
            raise damaged
        try:
            return super().load_checkpoint(path, *arguments, **options)
        except (RuntimeError, pickle.UnpicklingError):
            raise damaged from None


class TrainingState:
    """The folder of one training's state."""

    def __init__(self, root: str | Path, identity: Mapping[str, Any], index: str | Path) -> None:
        """Name the folder after what the training is.

        Parameters
        ----------
        root
            Folder of the checkpoint's states; state of other identities in it is left alone until `finish`.
        identity
            Everything in the config that shapes the result.
        index
            The index of the shards, which holds their checksums.
        """
        record = {"version": FORMAT_VERSION, "index": sha256(index), **identity}
        name = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
        self.root = Path(root)
        self.folder = self.root / name
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def last(self) -> Path | None:
        """Lightning's newest checkpoint, or None when training begins."""
        return self.path if self.path.exists() else None

    @property
    def path(self) -> Path:
        """Where Lightning's newest checkpoint is written."""
        return self.folder / "last.ckpt"

    @property
    def step_0(self) -> Path:
        """Where the checkpoint folder with the weights before the first step stands until the training is done."""
        return self.folder / "step_0"

    def gene_errors(self, decoder: str, epoch: int) -> Path:
        """Where the gene errors of a decoder in an epoch (from 1) stand until all epochs are done."""
        return self.folder / f"gene_errors-{decoder}-{epoch:04d}.parquet"

    def gene_error_sums(self, decoder: str, epoch: int) -> Path:
        """Where the sums by block behind them stand."""
        return self.folder / f"gene_error_sums-{decoder}-{epoch:04d}.parquet"

    def finish(self) -> None:
        """Remove the checkpoint's states, once its folder is written."""
        shutil.rmtree(self.root)

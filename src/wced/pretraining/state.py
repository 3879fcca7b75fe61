"""Where a training keeps what it needs to go on after a kill: outside every rule's outputs.

`<run>/state/<checkpoint>/<hash>/` holds Lightning's last checkpoint and the gene errors of finished epochs.
The hash covers the config section, the seed and the shards, so state of anything else is never resumed.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wced.files import sha256
from wced.pretraining import FORMAT_VERSION


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

    def gene_errors(self, decoder: str, epoch: int) -> Path:
        """Where the gene errors of a decoder in an epoch (from 1) stand until all epochs are done."""
        return self.folder / f"gene_errors-{decoder}-{epoch:04d}.parquet"

    def gene_error_sums(self, decoder: str, epoch: int) -> Path:
        """Where the sums by block behind them stand."""
        return self.folder / f"gene_error_sums-{decoder}-{epoch:04d}.parquet"

    def finish(self) -> None:
        """Remove the checkpoint's states, once its folder is written."""
        shutil.rmtree(self.root)

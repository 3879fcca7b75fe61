"""What happens beside the steps of a training: writing gene errors, saving the state, printing progress."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from wced import tables
from wced.pretraining.gene_errors.tables import gene_table, write_sums
from wced.pretraining.gene_statistics import blocks_of, cell_values, masked_values
from wced.pretraining.launch import STOPPED
from wced.pretraining.module import PretrainingModule
from wced.pretraining.state import TrainingState
from wced.progress import EVERY, left
from wced.shards.batches import BatchDataset


class GeneErrorFiles(Callback):
    """Write the gene errors of every validation epoch into the training state."""

    def __init__(self, state: TrainingState, name: str, validation: BatchDataset, decoders: list[str]) -> None:
        """Read the validation cells once: errors are compared with their values."""
        self.state, self.name, self.vocabulary = state, name, validation.source.vocabulary
        self.blocks = blocks_of(validation.source, "validation")
        self.values = {}
        if decoders:
            self.values["wced"] = cell_values(validation.source, "validation", self.blocks, null="wced" in decoders)
        if "mlm" in decoders:
            self.values["mlm"] = masked_values(validation, self.blocks)

    def on_validation_end(self, trainer: L.Trainer, module: PretrainingModule) -> None:
        """Write the epoch's tables."""
        epoch = trainer.current_epoch + 1
        for decoder, errors in module.gene_errors.items():
            sums = errors.sums()
            if trainer.is_global_zero:
                what, values = (self.name, decoder, epoch, self.vocabulary), self.values[decoder]
                frame = gene_table(*what, sums, values, self.values["wced"].zero_fraction_g)
                tables.write(frame, tables.GENE_ERRORS, self.state.gene_errors(tables.GENE_ERRORS, decoder, epoch))
                path = self.state.gene_errors(tables.GENE_ERROR_SUMS, decoder, epoch)
                write_sums(path, *what, self.blocks, sums, values)


class AdaptiveChoice(Callback):
    """Let badly predicted genes be chosen for prediction more often, by their errors in the last validation.

    A gene's weight is its error over that of the null, clipped to 0.25 to 4, and 1 without an error. The weights are
    part of the training state.
    """

    def __init__(self, train: BatchDataset, null_mae: np.ndarray) -> None:
        self.train, self.null_mae = train, null_mae
        self.weights: torch.Tensor | None = None

    def on_validation_end(self, trainer: L.Trainer, module: PretrainingModule) -> None:
        """Set the weights of the next epoch."""
        with np.errstate(invalid="ignore", divide="ignore"):
            share = module.gene_errors["mlm"].sums().nonzero_mae_g / self.null_mae
        share = np.where(np.isfinite(share), np.clip(share, 0.25, 4.0), 1.0)
        self._set(torch.from_numpy(share))

    def _set(self, weights: torch.Tensor) -> None:
        self.weights = weights
        self.train.set_gene_weights(weights.numpy())

    def state_dict(self) -> dict[str, Any]:
        """Return the current weights."""
        return {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set the weights of a resumed training."""
        if state["weights"] is not None:
            self._set(state["weights"])


def _completes_step(trainer: L.Trainer, batch_index: int) -> bool:
    """Return whether a batch that has just ended is the last one of an optimiser step."""
    return (batch_index + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


class Saving(Callback):
    """Save the training state regularly, and on SIGTERM, where training can resume exactly.

    Gradients that wait for the rest of their step are not part of the state, so it is saved between steps. From a state
    after the last batch of an epoch Lightning would resume with the next epoch and skip the validation of this one; so
    the state is saved one step earlier, and a kill during validation costs that step and the validation.
    """

    def __init__(self, path: Path, every_seconds: float) -> None:
        self.path, self.every_seconds = path, every_seconds
        self._stop, self._saved = False, time.monotonic()

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take SIGTERM from Lightning, which would end the training without saving, or in the middle of a step."""
        self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._request_stop)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        print("SIGTERM: the training state is saved at the end of this step", flush=True)

    @staticmethod
    def _on_any_rank(trainer: L.Trainer, *decisions: bool) -> list[bool]:
        """Return which decisions are true on any rank; every rank must call this."""
        if trainer.world_size == 1:
            return list(decisions)
        on_rank = torch.tensor(decisions, dtype=torch.int32, device=trainer.strategy.root_device)
        return [count > 0 for count in trainer.strategy.reduce(on_rank, reduce_op="sum").tolist()]

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Save between two steps: when it is time, before an epoch ends, and before training stops."""
        if not _completes_step(trainer, batch_index) or trainer.is_last_batch:
            return
        late = time.monotonic() - self._saved >= self.every_seconds
        stop, late = self._on_any_rank(trainer, self._stop, late)
        before_last = batch_index + 1 + trainer.accumulate_grad_batches >= trainer.num_training_batches
        if stop or before_last or late:
            trainer.save_checkpoint(self.path, weights_only=False)
            self._saved = time.monotonic()
        if stop:
            raise SystemExit(STOPPED)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Stop a validation at once; it is repeated from the state that was saved before it."""
        if any(self._on_any_rank(trainer, self._stop)):
            raise SystemExit(STOPPED)


class QuietProgress(Callback):
    """Print progress where no terminal shows a bar: at the start of each epoch, and regularly."""

    def on_train_start(self, trainer: L.Trainer, module: PretrainingModule) -> None:
        """Start the clock: steps of an earlier run do not tell the speed of this one."""
        self._began = self._printed = time.monotonic()
        self._first, self._epoch = trainer.global_step, -1

    def on_train_batch_end(
        self, trainer: L.Trainer, module: PretrainingModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Print the mean loss since the last row of metrics, and the time that the remaining steps will take."""
        step, now = trainer.global_step, time.monotonic()
        due = trainer.current_epoch != self._epoch or now - self._printed >= EVERY
        if trainer.is_global_zero and _completes_step(trainer, batch_index) and due:
            self._printed, self._epoch = now, trainer.current_epoch
            print(
                f"epoch {trainer.current_epoch + 1} step {step}/{module.steps} loss {module.running_loss:.4f}, "
                f"{left(step, module.steps, now - self._began, self._first)}",
                flush=True,
            )

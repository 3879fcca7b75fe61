"""What happens beside the steps of a training: gene errors to files, saving the state, telling how far it is."""

from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from wced import tables
from wced.pretraining.gene_statistics import cell_values, masked_values, measured_cells, nonzero
from wced.pretraining.module import PretrainingModule
from wced.pretraining.state import TrainingState
from wced.shards.batches import BatchDataset


class GeneErrorFiles(Callback):
    """Write the gene errors of every validation epoch into the training state."""

    def __init__(self, state: TrainingState, name: str, validation: BatchDataset) -> None:
        self.state, self.name, self.vocabulary = state, name, validation.source.vocabulary
        expressed = nonzero(cell_values(validation.source, "validation"), len(self.vocabulary))
        with np.errstate(invalid="ignore", divide="ignore"):
            self.zero_fraction = 1 - expressed.n / measured_cells(validation.source, "validation")
        masked = validation.encoding.select > 0
        self.null = nonzero(masked_values(validation), len(self.vocabulary)) if masked else expressed

    def on_validation_end(self, trainer: L.Trainer, module: PretrainingModule) -> None:
        """Write the epoch's table."""
        epoch = trainer.current_epoch + 1
        frame = module.gene_errors.table(self.name, epoch, self.vocabulary, self.zero_fraction, self.null)
        if trainer.is_global_zero:
            tables.write(frame, tables.GENE_ERRORS, self.state.gene_errors(epoch))


def made_step(trainer: L.Trainer, batch_index: int) -> bool:
    """Return whether the batch that just ended was the last one of an optimiser step."""
    return (batch_index + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


class Saving(ModelCheckpoint):
    """Save the training state now and then, where training can go on from exactly.

    Gradients that wait for the rest of their step are not part of the state. After the last batch of an epoch
    Lightning would go on with the next epoch, and leave out the validation of this one.
    """

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Save when it is time and a step was made, except at the end of an epoch."""
        if made_step(trainer, batch_index) and not trainer.is_last_batch:
            super().on_train_batch_end(trainer, module, outputs, batch, batch_index)


class QuietProgress(Callback):
    """Where there is no terminal for a progress bar: one line per row of training metrics."""

    def on_train_batch_end(
        self, trainer: L.Trainer, module: PretrainingModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Print the mean loss since the last row."""
        due = trainer.global_step % module.progress_every == 0 and made_step(trainer, batch_index)
        if trainer.is_global_zero and due:
            print(
                f"epoch {trainer.current_epoch + 1} step {trainer.global_step}/{module.steps} "
                f"loss {module.running_loss:.4f}",
                flush=True,
            )

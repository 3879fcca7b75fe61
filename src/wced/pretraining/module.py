"""The Lightning module: model, losses, metrics and gene errors of one checkpoint."""

from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch import nn

from wced.config.pretraining import Checkpoint
from wced.model import WcedModel, WcedOutput
from wced.objectives import (
    FlatLabelLoss,
    HierarchicalCrossEntropy,
    masked_position_losses,
    weighted_mean,
    whole_cell_losses,
)
from wced.pretraining.gene_errors import GeneErrors
from wced.shards.batches import TensorBatch
from wced.shards.vocabulary import LABEL_COLUMNS


class PretrainingModule(L.LightningModule):
    """Train one model; per-epoch metrics are kept in `metric_rows` and travel with the training state."""

    def __init__(
        self,
        model: WcedModel,
        section: Checkpoint,
        *,
        measured_dv: np.ndarray,
        descendant_leaves_cl: dict[str, np.ndarray],
        steps: int,
        steps_per_epoch: int,
        progress_every: int,
    ) -> None:
        """Put the parts together.

        Parameters
        ----------
        model, section
            The model and how it is trained.
        measured_dv
            bool, datasets × genes.
        descendant_leaves_cl
            By column of a hierarchical head: bool, classes × leaves.
        steps, steps_per_epoch
            Optimiser steps of the whole training and of an epoch.
        progress_every
            Steps between rows of the training metrics.
        """
        super().__init__()
        self.model, self.section = model, section
        self.steps, self.steps_per_epoch, self.progress_every = steps, steps_per_epoch, progress_every
        self.register_buffer("measured_dv", torch.from_numpy(measured_dv), persistent=False)
        self.label_losses = nn.ModuleList(
            HierarchicalCrossEntropy(descendant_leaves_cl[head.column])
            if head.loss == "hierarchical"
            else FlatLabelLoss(head.focal_gamma if head.loss == "focal" else 0.0)
            for head in section.label_heads
        )
        self.weights = {"detection": section.detection_weight, "value": section.value_weight} | {
            head.column: head.weight for head in section.label_heads
        }
        self.gene_errors = GeneErrors(model.config.vocabulary_size)
        self.metric_rows: list[list[Any]] = []
        self._sums: dict[str, torch.Tensor] = {}
        self._resumed: dict[str, Any] | None = None

    def losses(self, batch: TensorBatch, output: WcedOutput) -> dict[str, torch.Tensor]:
        """Return every loss that has something to say about this batch, by name; scalars in float32."""
        if self.section.objective == "wced":
            expression = whole_cell_losses(
                output.detection_logits, output.values, _target_row(batch), batch["target_gene"], batch["target_value"],
                self.measured_dv[batch["dataset"].long()],
            )  # fmt: skip
        else:
            target = batch["position_target"][batch["masked"]]
            expression = masked_position_losses(output.detection_logits, output.values, target)
        found = {"detection": expression.detection, "value": expression.value}
        for head, loss in zip(self.section.label_heads, self.label_losses, strict=True):
            per_cell = loss(output.label_logits[head.column], self._codes(batch, head.column))
            if len(per_cell):
                found[head.column] = per_cell.mean()
        return found

    @staticmethod
    def _codes(batch: TensorBatch, column: str) -> torch.Tensor:
        return batch["labels"][:, LABEL_COLUMNS.index(column)]

    def _joined(self, step: int) -> dict[str, float]:
        """Return the weights in force at a step: label heads join after the reconstruction-only epochs."""
        waiting = step < self.section.reconstruction_only_epochs * self.steps_per_epoch
        labels = {head.column for head in self.section.label_heads}
        return {name: 0.0 if waiting and name in labels else weight for name, weight in self.weights.items()}

    def _forward(self, batch: TensorBatch) -> WcedOutput:
        return self.model(batch["gene"], batch["value"], batch["length"], batch.get("masked"))

    def training_step(self, batch: TensorBatch, batch_index: int) -> torch.Tensor:
        """Return the weighted mean of the losses of a batch."""
        # A row is written before the batch after its last one: the training state is saved between the two, so that
        # a resumed training writes the same rows.
        if self.global_step % self.progress_every == 0 and batch_index % self.section.accumulate == 0:
            self._write_rows("train")
        losses = self.losses(batch, self._forward(batch))
        total = weighted_mean(losses, self._joined(self.global_step))
        self._collect({"loss": total, **losses}, weight=1)
        self.log("loss", total, prog_bar=True, logger=False)
        return total

    def on_validation_epoch_start(self) -> None:
        """Start the sums of a validation epoch; training metrics since the last row are written first."""
        self._write_rows("train")
        self.gene_errors.reset()

    def validation_step(self, batch: TensorBatch, batch_index: int) -> None:
        """Add a batch to the metrics and gene errors of the epoch."""
        output = self._forward(batch)
        losses = self.losses(batch, output)
        for head, loss in zip(self.section.label_heads, self.label_losses, strict=True):
            correct = loss.correct(output.label_logits[head.column], self._codes(batch, head.column))
            if len(correct):  # a label's loss and accuracy are means over the cells that have it
                scores = {head.column: losses[head.column], f"{head.column}_accuracy": correct.float().mean()}
                self._collect(scores, weight=len(correct))
        expression = {name: losses[name] for name in ("detection", "value")}
        self._collect({"loss": weighted_mean(losses, self.weights), **expression}, weight=len(batch["length"]))
        if self.section.objective == "wced":
            self._whole_cell_errors(batch, output)
        else:
            at = batch["masked"]
            self.gene_errors.update(
                batch["gene"][at], output.detection_logits, output.values, batch["position_target"][at]
            )

    def _whole_cell_errors(self, batch: TensorBatch, output: WcedOutput) -> None:
        target_ng = torch.zeros(output.values.shape, device=self.device)
        target_ng[_target_row(batch), batch["target_gene"].long()] = batch["target_value"]
        measured = self.measured_dv[batch["dataset"].long()]
        gene_ng = torch.arange(target_ng.shape[1], device=self.device).expand_as(target_ng)
        self.gene_errors.update(
            gene_ng[measured], output.detection_logits[measured], output.values[measured], target_ng[measured]
        )

    def on_validation_epoch_end(self) -> None:
        """Write the epoch's validation metrics."""
        self._write_rows("validation")

    def _collect(self, values: dict[str, torch.Tensor], weight: int) -> None:
        for name, value in values.items():
            pair = torch.stack([value.detach().double() * weight, value.new_tensor(weight, dtype=torch.float64)])
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def _write_rows(self, split: str) -> None:
        # One sum over processes of the same names in all of them: some may not have seen every label.
        columns = [head.column for head in self.section.label_heads]
        names = ["loss", "detection", "value", *columns, *(f"{column}_accuracy" for column in columns)]
        nothing = torch.zeros(2, dtype=torch.float64, device=self.device)
        pairs = torch.stack([self._sums.get(name, nothing) for name in names])
        pairs = self.trainer.strategy.reduce(pairs, reduce_op="sum")
        for name, (total, weight) in zip(names, pairs.tolist(), strict=True):
            if weight > 0:
                self.metric_rows.append([split, self.current_epoch + 1, self.global_step, name, total / weight])
        self._sums = {}

    @property
    def running_loss(self) -> float:
        """Mean training loss of this process since the last row of metrics."""
        total, weight = self._sums["loss"].tolist()
        return total / weight

    def metrics_table(self, checkpoint: str) -> pd.DataFrame:
        """Return the rows of `tables.METRICS` written so far."""
        frame = pd.DataFrame(self.metric_rows, columns=["split", "epoch", "step", "metric", "value"])
        return frame.assign(checkpoint=checkpoint)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put metrics and the states of the random generators into the training state."""
        checkpoint["wced"] = {
            "metric_rows": self.metric_rows,
            "sums": self._sums,
            "cpu_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take metrics back; the random generators are set when training starts."""
        self._resumed = checkpoint["wced"]

    def on_train_start(self) -> None:
        """Go on with the metrics and the random numbers of a resumed training."""
        if self._resumed is None:
            return
        self.metric_rows = self._resumed["metric_rows"]
        self._sums = {name: pair.to(self.device) for name, pair in self._resumed["sums"].items()}
        torch.set_rng_state(self._resumed["cpu_rng"])
        if self._resumed["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(self._resumed["cuda_rng"], self.device)
        self._resumed = None

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None, **_: Any
    ) -> None:
        """Clip the norm of all gradients; Lightning's own refuses fused optimisers even where nothing is scaled."""
        torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW, decaying the weights of linear layers only, and its schedule per step."""
        settings = self.section.optimiser
        decayed = {id(m.weight) for m in self.model.modules() if isinstance(m, nn.Linear)}
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if id(p) in decayed], "weight_decay": settings.weight_decay},
                {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            betas=settings.betas,
            # Lightning unscales float16 gradients before it clips them, which a fused optimiser would do once more.
            fused=not str(self.trainer.precision).startswith("16"),
        )
        warmup = torch.optim.lr_scheduler.LinearLR(
            optimiser, start_factor=1 / max(settings.warmup_steps, 1), total_iters=max(settings.warmup_steps, 1)
        )
        rest = max(self.steps - settings.warmup_steps, 1)
        after = (
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, rest, eta_min=settings.learning_rate / 10)
            if settings.schedule == "cosine"
            else torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)
        )
        schedule = torch.optim.lr_scheduler.SequentialLR(optimiser, [warmup, after], [settings.warmup_steps])
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _target_row(batch: TensorBatch) -> torch.Tensor:
    """Return the cell of every flat target; int64, (t,)."""
    offsets = batch["target_offsets"]
    return torch.repeat_interleave(torch.arange(len(offsets) - 1, device=offsets.device), offsets.diff())

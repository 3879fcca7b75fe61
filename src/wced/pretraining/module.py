"""The Lightning module: model, losses, optimiser, metrics and gene errors of one checkpoint."""

import math
from typing import Any

import lightning as L
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from wced.config.pretraining import Checkpoint, Optimiser
from wced.errors import WcedError
from wced.model import WcedModel, WcedOutput
from wced.objectives import Term, weighted_mean
from wced.pretraining.gene_errors import GeneErrors
from wced.pretraining.losses import Losses
from wced.shards.batches import TensorBatch


def share_of_peak(settings: Optimiser, step: int, steps: int) -> float:
    """Return the share of the peak learning rate that a step (from 0) of a training of `steps` has.

    It follows from the step alone, so that a training that goes on for longer has the rates of its new end.
    """
    warmup = max(settings.warmup_steps, 1)
    if step < settings.warmup_steps:
        return (1 + step * (1 - 1 / warmup)) / warmup
    if settings.schedule == "constant":
        return 1.0
    progress = min((step - settings.warmup_steps) / max(steps - settings.warmup_steps, 1), 1.0)
    return settings.final_fraction + (1 - settings.final_fraction) * (1 + math.cos(math.pi * progress)) / 2


class PretrainingModule(L.LightningModule):
    """Train one model; metrics of each epoch are kept in `metric_rows` and are part of the training state.

    Everything random in a step (dropout) follows from (seed, step, rank), so that a resumed training needs no state of
    random generators.
    """

    def __init__(
        self, model: WcedModel, section: Checkpoint, losses: Losses, gene_errors: dict[str, GeneErrors], *,
        seed: int, steps: int, steps_per_epoch: int, progress_every: int, metadata_at: list[int] = (),
        metadata_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        """Put the parts together.

        `gene_errors` has the sums of each decoder (`wced`, `mlm`). Steps are those of the optimiser: of the whole
        training, of an epoch, and between two rows of the training metrics. `metadata_at` are the columns of a batch's
        `labels` that are the model's metadata; training hides those of a cell with probability `metadata_dropout`.
        """
        super().__init__()
        self.model, self.section, self.losses = model, section, losses
        self.gene_errors = nn.ModuleDict(gene_errors)
        self.seed, self.metadata_at, self.metadata_dropout = seed, list(metadata_at), metadata_dropout
        self.steps, self.steps_per_epoch, self.progress_every = steps, steps_per_epoch, progress_every
        self.average: AveragedModel | None = None
        if section.ema_decay is not None:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(section.ema_decay))
            self.average.requires_grad_(False)
        self.metric_rows: list[list[Any]] = []
        self.extended: list[dict[str, Any]] = []
        self._loader: dict[str, Any] | None = None
        self._sums: dict[str, Tensor] = {}

    @property
    def trained(self) -> WcedModel:
        """The model that is validated and written: the moving average of the weights, where there is one."""
        return self.model if self.average is None else self.average.module

    @property
    def epochs_done(self) -> float:
        """Epochs (with a fraction) of optimiser steps made so far, for schedules."""
        return self.global_step / self.steps_per_epoch

    def on_before_batch_transfer(self, batch: TensorBatch, dataloader_idx: int) -> TensorBatch:
        """Add what follows from a batch while it is still on the CPU, so that no GPU has to be waited for."""
        if "target_offsets" in batch:
            n = len(batch["expressed"])
            batch["target_row"] = torch.repeat_interleave(torch.arange(n), batch["expressed"])
        for name in ("masked", "gene_masked"):
            if name in batch:
                batch[f"{name}_at"] = batch[name].flatten().nonzero()[:, 0]
        batch["full"] = bool((batch["length"] == batch["gene"].shape[1]).all())
        return batch

    def _forward(self, model: WcedModel, batch: TensorBatch, *, training: bool) -> WcedOutput:
        metadata = batch["labels"][:, self.metadata_at].long() if self.metadata_at else None
        if metadata is not None and training:
            hidden = torch.rand(metadata.shape, device=metadata.device) < self.metadata_dropout
            metadata = metadata.masked_fill(hidden, -1)
        names = ("masked", "gene_masked", "gene_state", "full", "masked_at", "gene_masked_at", "expressed")
        return model(
            batch["gene"], batch["value"], batch["length"], metadata=metadata,
            reversal=self.losses.reversal(self.epochs_done) if training else None,
            **{name: batch[name] for name in names if name in batch},
        )  # fmt: skip

    def _over_ranks(self, terms: dict[str, Term]) -> dict[str, Term]:
        """Divide by the counts of all ranks, so that the mean of their gradients is that of the whole step's mean."""
        if self.trainer.world_size == 1:
            return terms
        counts = self.trainer.strategy.reduce(torch.stack([term.count for term in terms.values()]), reduce_op="sum")
        return {
            name: Term(term.total * self.trainer.world_size, count)
            for (name, term), count in zip(terms.items(), counts, strict=True)
        }

    def on_train_start(self) -> None:
        """Let a training go on with the batches that follow; Lightning forgets them where an epoch was over."""
        if self._loader is not None:
            self.trainer.train_dataloader.load_state_dict(self._loader)

    def training_step(self, batch: TensorBatch, batch_index: int) -> Tensor:
        """Return the weighted mean of the losses of a batch."""
        # A row is written before the batch after its last one: the training state is saved between the two, so that
        # a resumed training writes the same rows.
        if self.global_step % self.progress_every == 0 and batch_index % self.section.accumulate == 0:
            self._write_rows("train")
        batch_number = self.current_epoch * 2**24 + batch_index
        torch.manual_seed((self.seed * 2**40 + batch_number) * 4096 + self.global_rank & (2**63 - 1))
        output = self._forward(self.model, batch, training=True)
        terms = self.losses(batch, output)
        if self.losses.contrast is not None:
            view = self.model(**{name: batch[f"view_{name}"] for name in ("gene", "value", "length")}, decode=False)
            projections = (self.model.projected(cls_nkd) for cls_nkd in (output.cls_nkd, view.cls_nkd))
            terms["contrast"] = self.losses.contrasted(batch, *projections)
        total = weighted_mean(self._over_ranks(terms), self.losses.weights(self.epochs_done))
        self._collect({"loss": Term(total, torch.ones_like(total)), **terms})
        self.log("loss", total, prog_bar=True, logger=False)
        return total

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make a step, then let the moving average follow."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def on_validation_epoch_start(self) -> None:
        """Start the sums of a validation epoch; training metrics since the last row are written first."""
        self._write_rows("train")
        for errors in self.gene_errors.values():
            errors.reset()

    def validation_step(self, batch: TensorBatch, batch_index: int) -> None:
        """Add a batch to the metrics and gene errors of the epoch."""
        output = self._forward(self.trained, batch, training=False)
        self._collect(self.losses(batch, output) | self.losses.correct(batch, output))
        if "wced" in self.gene_errors:
            measured_ng = self.losses.measured_dv[batch["dataset"].long()]
            self.gene_errors["wced"].update_cells(batch, output, measured_ng)
        if "mlm" in self.gene_errors:
            self.gene_errors["mlm"].update_positions(batch, output)

    def on_validation_epoch_end(self) -> None:
        """Write the validation metrics of the epoch."""
        self._write_rows("validation")

    def _collect(self, terms: dict[str, Term]) -> None:
        for name, term in terms.items():
            pair = torch.stack([term.total.detach().double(), term.count.double()])
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def _summed(self) -> dict[str, Tensor]:
        """Return the sums since the last row over all ranks; every rank has the same names, in the same order."""
        if not self._sums:
            return {}
        pairs = self.trainer.strategy.reduce(torch.stack(list(self._sums.values())), reduce_op="sum")
        return dict(zip(self._sums, pairs, strict=True))

    def _write_rows(self, split: str) -> None:
        sums = {name: pair.tolist() for name, pair in self._summed().items()}
        means = {name: total / count for name, (total, count) in sums.items() if count > 0}
        if split == "validation" and means:  # a contrast alone is not validated
            weights = {name: weight for name, weight in self.losses.weights().items() if name in means}
            means = {"loss": sum(weights[name] * means[name] for name in weights) / sum(weights.values()), **means}
            for name, value in means.items():
                self.log(f"validation_{name}", value, logger=False)
        for name, value in means.items():
            self.metric_rows.append([split, self.current_epoch + 1, self.global_step, name, value])
        self._sums = {}

    @property
    def running_loss(self) -> float:
        """Mean training loss of this process since the last row of metrics."""
        total, count = self._sums["loss"].tolist()
        return total / count

    def metrics_table(self, checkpoint: str) -> pd.DataFrame:
        """Return the rows of `tables.METRICS` written so far."""
        frame = pd.DataFrame(self.metric_rows, columns=["split", "epoch", "step", "metric", "value"])
        return frame.assign(checkpoint=checkpoint)

    @property
    def _request(self) -> dict[str, Any]:
        return {"epochs": self.section.epochs, "precision": self.trainer.precision}

    @property
    def _fused(self) -> bool:
        # Lightning unscales float16 gradients before it clips them, which a fused optimiser would do once more.
        return not str(self.trainer.precision).startswith("16")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put metrics into the training state: the rows, and the sums of all ranks since the last one."""
        checkpoint["wced"] = {
            "metric_rows": self.metric_rows, "sums": self._summed(), "asked": self._request, "extended": self.extended,
            "loader": self.trainer.train_dataloader.state_dict(),
        }  # fmt: skip

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take metrics back; the sums go to the first rank, because they are those of all.

        A training that is extended has the learning rates of its new end from here on, and keeps in `extended` at which
        step it went on, and which epochs and precision its section had until then.
        """
        state, step = checkpoint["wced"], checkpoint["global_step"]
        self.metric_rows, self.extended, self._loader = state["metric_rows"], state["extended"], state["loader"]
        first = float(self.trainer.is_global_zero)
        self._sums = {name: pair.to(self.device) * first for name, pair in state["sums"].items()}
        for key, callback in checkpoint["callbacks"].items():
            if key.startswith("EarlyStopping") and self.section.early_stop is not None:
                callback["patience"] = self.section.early_stop.patience  # which Lightning takes from there
        if state["asked"] == self._request:
            return
        if step >= self.steps:
            raise WcedError(
                f"extend_from: {step} steps are made, and {self.section.epochs} epochs have {self.steps}; ask for more"
            )
        self.extended = [*self.extended, {"step": step} | state["asked"]]
        optimiser = self.section.optimiser
        for group in checkpoint["optimizer_states"][0]["param_groups"]:
            group["lr"] = optimiser.learning_rate * share_of_peak(optimiser, step, self.steps)
            group["fused"] = self._fused

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None, **_: Any
    ) -> None:
        """Clip the norm of all gradients; Lightning's own refuses fused optimisers even where nothing is scaled."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW, which decays the weights of linear layers only, and its learning rate per step."""
        settings = self.section.optimiser
        decayed = {id(layer.weight) for layer in self.model.modules() if isinstance(layer, nn.Linear)}
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if id(p) in decayed], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=self._fused)
        schedule = LambdaLR(optimiser, lambda step: share_of_peak(settings, step, self.steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

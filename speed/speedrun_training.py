"""Train a recipe for minutes instead of epochs, with snapshots of the model on the way."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment

from wced.config.pretraining import Optimiser
from wced.config.speedrun import Speedrun
from wced.errors import WcedError
from wced.model import WcedModel
from wced.ontology.cut import OntologyCut
from wced.pretraining.build import build_model, compile_layers, hierarchy, input_genes, losses_of, training_batches
from wced.pretraining.gene_statistics import cell_values
from wced.pretraining.module import PretrainingModule
from wced.pretraining.start import start_from_statistics
from wced.pretraining.train import precision_of
from wced.shards.batches import BatchLoader
from wced.shards.input_genes import InputGenes
from wced.shards.reader import ShardSet


class TrainingClock:
    """Minutes of training: it runs while the model is initialised, in batches and in steps, and stops for scoring."""

    def __init__(self) -> None:
        self._seconds, self._since = 0.0, None

    @property
    def minutes(self) -> float:
        """Minutes so far."""
        running = 0.0 if self._since is None else perf_counter() - self._since
        return (self._seconds + running) / 60

    def start(self) -> None:
        """Start, or go on."""
        self._since = perf_counter()

    def stop(self) -> None:
        """Stop."""
        self._seconds, self._since = 60 * self.minutes, None


@dataclass(frozen=True)
class Snapshot:
    """A model in the course of its training."""

    minutes: float
    """Minutes of training after which it was due; 0 for the untrained model."""
    model: WcedModel
    """A copy of the model (of the moving average of its weights, if there is one), in evaluation mode."""
    ontology: OntologyCut | None
    """The Cell Ontology of a hierarchical head."""
    input_genes: InputGenes
    """Facts about the genes of the input in the training cells."""
    steps: int
    """Optimiser steps."""
    cells: int
    """Cells seen, repeats included."""
    cells_per_second: float
    """`cells` by the training clock; NaN for the untrained model."""
    loss: float
    """Mean training loss since the previous snapshot; NaN without a step since then."""


def learning_rate(settings: Optimiser, step: int, progress: float) -> float:
    """Return the learning rate of a step (from 0) when a share `progress` of the time is over.

    A linear warm-up over steps, which a moving average of squared gradients needs, times a schedule over time:
    constant, or a cosine to `final_fraction`.
    """
    warm = min((step + 1) / max(settings.warmup_steps, 1), 1.0)
    if settings.schedule == "constant":
        return settings.learning_rate * warm
    cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return settings.learning_rate * warm * (settings.final_fraction + (1 - settings.final_fraction) * cosine)


class _TimedModule(PretrainingModule):
    """Pretraining whose learning rate follows the clock."""

    def __init__(self, *arguments: Any, clock: TrainingClock, budget: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.clock, self.budget = clock, budget

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser alone, without a schedule over steps."""
        return super().configure_optimizers()["optimizer"]

    def optimizer_step(self, epoch: int, batch_index: int, optimizer: Any, closure: Callable[[], Any]) -> None:
        """Make a step at the current learning rate."""
        rate = learning_rate(self.section.optimiser, self.global_step, self.clock.minutes / self.budget)
        for group in optimizer.param_groups:
            group["lr"] = rate
        super().optimizer_step(epoch, batch_index, optimizer, closure)


class _Snapshots(Callback):
    """Stop the clock when a snapshot is due, pass it to `take`, and end the training with the last one."""

    def __init__(self, clock: TrainingClock, minutes: list[float], take: Callable[..., None]) -> None:
        self.clock, self.due, self.take = clock, list(minutes), take
        self.cells, self.losses = 0, []

    def on_train_start(self, trainer: L.Trainer, module: PretrainingModule) -> None:
        """Take the untrained model, then start the clock."""
        self._take(0.0, trainer, module)
        self.clock.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: PretrainingModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Take the snapshots that are due."""
        self.cells += len(batch["length"])
        self.losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)
        if self.clock.minutes < self.due[0]:
            return
        if module.device.type == "cuda":
            torch.cuda.synchronize()  # finish the step before the clock stops
        self.clock.stop()
        while self.due and self.clock.minutes >= self.due[0]:
            self._take(self.due.pop(0), trainer, module)
        if self.due:
            self.clock.start()
        else:
            trainer.should_stop = True

    def _take(self, minutes: float, trainer: L.Trainer, module: PretrainingModule) -> None:
        steps = trainer.global_step
        loss = torch.stack(self.losses).double().mean().item() if self.losses else math.nan
        if self.losses and not math.isfinite(loss):
            raise WcedError(f"the loss is {loss} after {steps} steps; lower recipe's optimiser.learning_rate")
        self.losses = []
        # A copy, so that the trained model stays in training mode and keeps what was compiled for its batches.
        model = WcedModel(module.trained.config).to(module.device)
        model.load_state_dict(module.trained.state_dict())
        rate = self.cells / (60 * self.clock.minutes) if self.cells else math.nan
        self.take(minutes=minutes, model=model.eval(), steps=steps, cells=self.cells, cells_per_second=rate, loss=loss)


def train(shards: ShardSet, section: Speedrun, seed: int, take: Callable[[Snapshot], None]) -> dict[str, Any]:
    """Train the recipe of a section on the training cells of shards, epoch after epoch, for its minutes.

    The seed decides everything except learning rates and the number of steps, which depend on the clock. `take` is
    called with the untrained model and with each snapshot, while the clock is stopped. Returns facts for the
    provenance. Raises WcedError if there are no training cells, a label head has no classes, or the loss is no longer
    finite.
    """
    checkpoint = section.recipe.checkpoints[section.name]
    if not shards.count("train"):
        raise WcedError(f"{shards.folder}: no train cells")
    graph, targets = hierarchy(shards, checkpoint)
    clock = TrainingClock()
    clock.start()
    model = build_model(shards, section.recipe.model, checkpoint, graph, seed)
    values = cell_values(shards, "train", null=False)
    start_from_statistics(model, shards, values, section.recipe.model, seed)
    genes = input_genes(values, shards.vocabulary, checkpoint.input)
    clock.stop()
    model.backbone.gradient_checkpointing = checkpoint.gradient_checkpointing
    batches = training_batches(shards, checkpoint, genes, seed)
    loader = BatchLoader(batches, workers=section.recipe.workers, pin_memory=torch.cuda.is_available())

    def take_facts(**facts: Any) -> None:
        take(Snapshot(ontology=graph, input_genes=genes, **facts))

    snapshots = _Snapshots(clock, section.minutes, take_facts)
    trainer = L.Trainer(
        accelerator="auto", devices=1, precision=precision_of(section.recipe.precision), max_epochs=-1,
        accumulate_grad_batches=checkpoint.accumulate, gradient_clip_val=checkpoint.optimiser.clip,
        callbacks=[snapshots], plugins=[LightningEnvironment()], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    steps_per_epoch = -(-len(loader) // checkpoint.accumulate)
    module = _TimedModule(
        model, checkpoint, losses_of(shards, values, checkpoint, model, targets), {}, seed=seed,
        steps=steps_per_epoch, steps_per_epoch=steps_per_epoch, progress_every=section.recipe.progress_every,
        metadata_at=[shards.label_columns.index(column) for column in section.recipe.model.metadata],
        metadata_dropout=section.recipe.model.metadata_dropout, clock=clock, budget=section.minutes[-1],
    )  # fmt: skip
    if checkpoint.compile:
        compile_layers(model)
    trainer.fit(module, loader)
    return {
        "device": str(module.device),
        "precision": trainer.precision,
        "parameters": model.num_parameters(),
        "encoder_parameters": model.encoder_parameters,
        "steps": trainer.global_step,
        "cells": snapshots.cells,
        "cells_per_second": snapshots.cells / (60 * clock.minutes),
    }

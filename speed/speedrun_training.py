"""Train a recipe for minutes instead of epochs, and hand the model out on the way."""

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
from wced.pretraining.build import (
    build_model,
    compile_layers,
    hierarchy,
    input_genes,
    losses_of,
    training_batches,
)
from wced.pretraining.gene_statistics import cell_values
from wced.pretraining.module import PretrainingModule
from wced.pretraining.start import start_from_statistics
from wced.pretraining.train import precision_of
from wced.shards.batches import BatchLoader
from wced.shards.input_genes import InputGenes
from wced.shards.reader import ShardSet


class TrainingClock:
    """Minutes of training: it runs for the model's start, for batches and for steps, and stands for scoring."""

    def __init__(self) -> None:
        self._seconds, self._since = 0.0, None

    @property
    def minutes(self) -> float:
        """What it shows."""
        running = 0.0 if self._since is None else perf_counter() - self._since
        return (self._seconds + running) / 60

    def go(self) -> None:
        """Run."""
        self._since = perf_counter()

    def stand(self) -> None:
        """Stand."""
        self._seconds, self._since = 60 * self.minutes, None


@dataclass(frozen=True)
class Snapshot:
    """A model on its way."""

    minutes: float
    """After which minutes of training it was asked for; 0 for the untrained model."""
    model: WcedModel
    """A copy of the model (of the moving average of its weights, where there is one), in evaluation mode."""
    ontology: OntologyCut | None
    """The Cell Ontology of a hierarchical head."""
    input_genes: InputGenes
    """What the training cells say of the genes of the input."""
    steps: int
    """Optimiser steps."""
    cells: int
    """Cells seen, those seen again counted again."""
    cells_per_second: float
    """`cells` by the training clock; NaN for the untrained model."""
    loss: float
    """Mean training loss since the snapshot before; NaN where no step was made since."""


def learning_rate(settings: Optimiser, step: int, progress: float) -> float:
    """Return the learning rate of a step (from 0) when a share `progress` of the time is over.

    A linear warm-up over steps, because that is what a moving average of squared gradients needs, times a schedule
    over time: constant, or a cosine to `final_fraction`.
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
        """Return the optimiser alone; its learning rate is set before each step."""
        return super().configure_optimizers()["optimizer"]

    def optimizer_step(self, epoch: int, batch_index: int, optimizer: Any, closure: Callable[[], Any]) -> None:
        """Make a step at the learning rate that is due."""
        rate = learning_rate(self.section.optimiser, self.global_step, self.clock.minutes / self.budget)
        for group in optimizer.param_groups:
            group["lr"] = rate
        super().optimizer_step(epoch, batch_index, optimizer, closure)


class _Snapshots(Callback):
    """Stop the clock when a snapshot is due, hand the model out, and end the training with the last one."""

    def __init__(
        self,
        clock: TrainingClock,
        minutes: list[float],
        ontology: OntologyCut | None,
        genes: InputGenes,
        take: Callable[[Snapshot], None],
    ) -> None:
        self.clock, self.due, self.ontology, self.genes, self.take = clock, list(minutes), ontology, genes, take
        self.cells, self.losses = 0, []

    def on_train_start(self, trainer: L.Trainer, module: PretrainingModule) -> None:
        """Hand the untrained model out, then start the clock."""
        self._hand_out(0.0, trainer, module)
        self.clock.go()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: PretrainingModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        """Look at the clock."""
        self.cells += len(batch["length"])
        self.losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)
        if self.clock.minutes < self.due[0]:
            return
        if module.device.type == "cuda":
            torch.cuda.synchronize()  # what was asked for is done before the clock stands
        self.clock.stand()
        while self.due and self.clock.minutes >= self.due[0]:
            self._hand_out(self.due.pop(0), trainer, module)
        if self.due:
            self.clock.go()
        else:
            trainer.should_stop = True

    def _hand_out(self, minutes: float, trainer: L.Trainer, module: PretrainingModule) -> None:
        loss = torch.stack(self.losses).double().mean().item() if self.losses else math.nan
        if self.losses and not math.isfinite(loss):
            raise WcedError(
                f"the loss is {loss} after {trainer.global_step} steps; lower recipe's optimiser.learning_rate"
            )
        self.losses = []
        # A copy: the model in training stays in training mode, and what was compiled for its batches is kept.
        model = WcedModel(module.trained.config).to(module.device)
        model.load_state_dict(module.trained.state_dict())
        rate = self.cells / (60 * self.clock.minutes) if self.cells else math.nan
        steps = trainer.global_step
        self.take(Snapshot(minutes, model.eval(), self.ontology, self.genes, steps, self.cells, rate, loss))


def train(shards: ShardSet, section: Speedrun, seed: int, take: Callable[[Snapshot], None]) -> dict[str, Any]:
    """Train the recipe of a section for its minutes.

    Everything but the clock is drawn from the seed; the clock decides on learning rates and the number of steps.

    Parameters
    ----------
    shards
        Where training cells come from; epochs follow one another until the time is over.
    section
        Recipe and minutes.
    seed
        Seed of weights, order of cells, sequences and dropout.
    take
        Called with the untrained model and with each snapshot, while the clock stands.

    Returns
    -------
    dict
        Facts for the provenance: device, precision, parameters, steps, cells and cells/s.

    Raises
    ------
    WcedError
        If there are no training cells, a label head has no classes, or the loss is no longer finite.
    """
    checkpoint = section.recipe.checkpoints[section.name]
    if not shards.count("train"):
        raise WcedError(f"{shards.folder}: no train cells")
    graph, targets = hierarchy(shards, checkpoint)
    clock = TrainingClock()
    clock.go()
    model = build_model(shards, section.recipe.model, checkpoint, graph, seed)
    values = cell_values(shards, "train", null=False)
    start_from_statistics(model, shards, values, section.recipe.model, seed)
    genes = input_genes(values, shards.vocabulary, checkpoint.input)
    clock.stand()
    model.backbone.gradient_checkpointing = checkpoint.gradient_checkpointing
    batches = training_batches(shards, checkpoint, genes, seed)
    loader = BatchLoader(batches, workers=section.recipe.workers, pin_memory=torch.cuda.is_available())
    snapshots = _Snapshots(clock, section.minutes, graph, genes, take)
    trainer = L.Trainer(
        accelerator="auto", devices=1, precision=precision_of(section.recipe.precision), max_epochs=-1,
        accumulate_grad_batches=checkpoint.accumulate, gradient_clip_val=checkpoint.optimiser.clip,
        callbacks=[snapshots], plugins=[LightningEnvironment()], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    steps_per_epoch = -(-len(loader) // checkpoint.accumulate)
    module = _TimedModule(
        model,
        checkpoint,
        losses_of(shards, values, checkpoint, model, targets),
        {},
        seed=seed,
        steps=steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        progress_every=section.recipe.progress_every,
        metadata_at=[shards.label_columns.index(column) for column in section.recipe.model.metadata],
        metadata_dropout=section.recipe.model.metadata_dropout,
        clock=clock,
        budget=section.minutes[-1],
    )
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

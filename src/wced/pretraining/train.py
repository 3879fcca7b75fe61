"""Pretrain one checkpoint: from shards to a Hugging Face folder, resuming where a killed job stopped."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, RichProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from wced import resources, tables
from wced.checkpoint import Checkpoint, load, save
from wced.config import pretraining as config
from wced.errors import WcedError
from wced.files import whole_folder
from wced.model.cpu import bfloat16_pays, keep_freed_memory
from wced.pretraining.build import build_model, compile_layers, hierarchy, input_genes, losses_of, training_batches
from wced.pretraining.callbacks import AdaptiveChoice, GeneErrorFiles, QuietProgress, Saving
from wced.pretraining.card import card, start_card
from wced.pretraining.gene_errors import GeneErrors
from wced.pretraining.gene_errors.tables import joined
from wced.pretraining.gene_statistics import cell_values
from wced.pretraining.launch import launched, rank
from wced.pretraining.module import PretrainingModule
from wced.pretraining.start import start_from_statistics
from wced.pretraining.state import Saved, TrainingState, WholeCheckpoints
from wced.shards.batches import BatchDataset, BatchLoader
from wced.shards.reader import ShardSet

AUTO = ("bf16-mixed", "32-true")
"""Values of `precision: auto`; any device can resume a training in either."""


def precision_of(word: str) -> str:
    """Return Lightning's precision; `auto` is bf16-mixed where the device is faster in it, else 32-true."""
    if word != "auto":
        return word
    faster = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else bfloat16_pays()
    return AUTO[0] if faster else AUTO[1]


def pretrain(
    output: str | Path, shard_folder: str | Path, state_root: str | Path, section: config.Pretraining, name: str,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Pretrain the checkpoint `name` of a section, write its folder, and return facts for the provenance.

    Parameters
    ----------
    output
        Folder to make: `model/` (Hugging Face), `step_0/` (the same model before its first step), `metrics.tsv`, where
        expression is decoded `gene_errors.parquet` and `gene_error_sums.parquet`, and for `extend_from` the training
        state at the end with the record of what was trained, `last.ckpt` and `section.json`.
    shard_folder
        Folder with index.json and its shards.
    state_root
        Folder for the state from which a killed training resumes; it is removed at the end.
    seed
        Seed of weights, order, sequences and dropout, unless the checkpoint has its own; and of the share of cells.

    Raises
    ------
    WcedError
        If the shards are damaged, there is nothing to train or validate on, a label head has no classes, `extend_from`
        does not fit, or processes and GPUs are not as many as the section has devices.
    SystemExit
        With status 143, after SIGTERM; the same call resumes the training.
    """
    _check_processes(section.devices)
    keep_freed_memory()
    torch.backends.cuda.matmul.allow_tf32 = True  # where precision is float32; no effect without a GPU
    checkpoint = section.checkpoints[name]
    shards = ShardSet(shard_folder, verify=True, share=checkpoint.cells, share_seed=seed)
    cells_seed = None if checkpoint.cells == 1 else seed
    seed = seed if checkpoint.seed is None else checkpoint.seed
    for split in ("train", "validation"):
        n = shards.count(split)
        if n < section.devices:
            raise WcedError(
                f"{shard_folder}: {n or 'no'} {split} cells for {section.devices} device(s); change cells.split"
            )
    _say(f"vocabulary: {len(shards.vocabulary)} genes")
    identity = {
        "model": section.model.model_dump(), "checkpoint": checkpoint.model_dump(exclude={"seed"}), "name": name,
        "seed": seed, "seed of cells": cells_seed, "devices": section.devices,
    }  # fmt: skip
    index = Path(shard_folder) / "index.json"
    state, precision, extended = _state_of(state_root, identity, index, section.precision, checkpoint.extend_from)
    graph, targets = hierarchy(shards, checkpoint)
    if state.last is None and extended is None:
        model = build_model(shards, section.model, checkpoint, graph, seed)
        values = cell_values(shards, "train", null=False)
        start_from_statistics(model, shards, values, section.model, seed)
        genes = input_genes(values, shards.vocabulary, checkpoint.input)
        start = Checkpoint(model, shards.vocabulary, shards.labels, graph, genes)
    else:  # the weights at step 0 are saved, with all that depends on statistics of the training cells
        values, start = None, load((extended or state).step_0)
        model = start.model.train()
        model.config.losses, model.config.readout = checkpoint.losses, checkpoint.read_from
    model.backbone.gradient_checkpointing = checkpoint.gradient_checkpointing
    _say("parameters: " + ", ".join(f"{part} {n:,}" for part, n in model.parameters_by_part().items()))

    train = training_batches(shards, checkpoint, start.input_genes, seed)
    # Masked language modelling validates on the same masks each epoch; whole-cell decoding on whole inputs.
    validation = BatchDataset(
        shards, "validation", train.encoding.unvaried, batch_size=checkpoint.batch_size,
        training=checkpoint.mlm is not None, seed=seed, choice=train.choice,
    )  # fmt: skip
    errors = GeneErrorFiles(state, name, validation, model.config.decoders)
    if rank() == 0:
        size, tokens = model.config, checkpoint.batch_size * checkpoint.input.length
        need = resources.pretraining(
            model.num_parameters(), tokens, size.num_hidden_layers, size.hidden_size, size.intermediate_size,
            resources.gene_errors(size.vocabulary_size, len(errors.blocks), checkpoint.epochs, len(size.decoders)),
            on_gpu=torch.cuda.is_available(),
        )  # fmt: skip
        resources.check(need, state_root)
        if state.last is None:
            state.begin(extended, name)
        if values is not None:
            with whole_folder(state.step_0) as temporary:
                save(start, temporary, card=start_card(name, checkpoint, model))
    callbacks = [Saving(state.path, section.save_every_minutes * 60), errors]
    if checkpoint.mlm is not None and checkpoint.mlm.choice == "adaptive":
        callbacks.append(AdaptiveChoice(train, errors.values["mlm"].null_mae_g))
    if (stop := checkpoint.early_stop) is not None:
        callbacks.append(EarlyStopping(f"validation_{stop.metric}", patience=stop.patience, mode="min"))
    terminal = sys.stderr.isatty()
    trainer = L.Trainer(
        accelerator="auto",
        devices=int(os.environ["LOCAL_WORLD_SIZE"]) if launched() else 1,
        num_nodes=int(os.environ["GROUP_WORLD_SIZE"]) if launched() else 1,
        # Heads may wait for their schedule. Buffers hold each process's own sums of gene errors, which must not be
        # overwritten with those of the first.
        strategy=DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if section.devices > 1 else "auto",
        precision=precision,
        max_epochs=checkpoint.epochs,
        accumulate_grad_batches=checkpoint.accumulate,
        gradient_clip_val=checkpoint.optimiser.clip,
        callbacks=[*callbacks, RichProgressBar() if terminal else QuietProgress()],
        # Explicit, because in a Slurm job Lightning would expect one Slurm task per GPU.
        plugins=[TorchElasticEnvironment() if launched() else LightningEnvironment(), WholeCheckpoints()],
        enable_progress_bar=terminal,
        num_sanity_val_steps=0,
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary", "use_distributed_sampler"), False),
    )
    share = {"rank": trainer.global_rank, "ranks": trainer.world_size}
    loading = {"workers": section.workers, "pin_memory": torch.cuda.is_available()}
    loaders = [BatchLoader(dataset, **share, **loading) for dataset in (train, validation)]
    steps_per_epoch = -(-len(loaders[0]) // checkpoint.accumulate)
    module = PretrainingModule(
        model,
        checkpoint,
        losses_of(shards, values, checkpoint, model, targets),
        {decoder: GeneErrors(len(shards.vocabulary), errors.blocks) for decoder in model.config.decoders},
        seed=seed,
        steps=steps_per_epoch * checkpoint.epochs,
        steps_per_epoch=steps_per_epoch,
        progress_every=section.progress_every,
        metadata_at=[shards.label_columns.index(column) for column in section.model.metadata],
        metadata_dropout=section.model.metadata_dropout,
    )
    if checkpoint.compile:
        compile_layers(model)
    last = extended.path if extended else state.last
    if last:
        _say(f"{'going on' if extended else 'resuming'} from {last}")
    trainer.fit(module, *loaders, ckpt_path=last, weights_only=True)
    trainer.save_checkpoint(state.path, weights_only=False)  # a longer training may go on from its end

    if trainer.is_global_zero:
        trained, metrics = module.trained, module.metrics_table(name)
        with whole_folder(output) as temporary:
            (temporary / "model").mkdir()
            trained.config.extended = module.extended
            readme = card(name, checkpoint, trained, shards, metrics)
            save(replace(start, model=trained), temporary / "model", card=readme)
            shutil.copytree(state.step_0, temporary / "step_0")
            for path in (state.path, state.section):
                shutil.copy(path, temporary)
            tables.write(metrics, tables.METRICS, temporary / "metrics.tsv")
            epochs = range(1, int(metrics["epoch"].max()) + 1)
            done = [(decoder, epoch) for decoder in model.config.decoders for epoch in epochs]
            for table in (tables.GENE_ERRORS, tables.GENE_ERROR_SUMS) if done else ():
                joined(temporary / f"{table.name}.parquet", [state.gene_errors(table, *part) for part in done])
        state.finish()
    return {
        "device": str(module.device), "precision": trainer.precision, "steps": trainer.global_step,
        "train_cells": shards.count("train"), "validation_cells": shards.count("validation"),
        "parameters": model.num_parameters(), "encoder_parameters": model.encoder_parameters, "seed": seed,
    }  # fmt: skip


def _state_of(
    root: str | Path, identity: dict[str, Any], index: Path, word: str, extend_from: str | None
) -> tuple[TrainingState, str, Saved | None]:
    """Return the state of a training, its precision, and the training that it extends; print which states are not used.

    A training with `precision: auto` that a cluster restarts on another kind of device keeps its first precision.
    """
    precision = precision_of(word)
    state = TrainingState(root, identity | {"precision": precision}, index)
    if state.last is not None:
        return state, precision, None
    for saved in state.others():
        first = saved.leaves.get("precision")
        if word == "auto" and first in AUTO and state.differences(saved).keys() == {"precision"}:
            _say(f"precision: auto goes on in {first}, in which this training began; here it would be {precision}")
            return TrainingState(root, identity | {"precision": first}, index), first, None
    if extend_from is not None:
        return state, precision, state.extended(extend_from)
    for saved in state.others():
        _say(state.unlike(saved))
    return state, precision, None


def _say(line: str) -> None:
    """Print a line once, whatever the number of processes."""
    if rank() == 0:
        print(line, flush=True)


def _check_processes(devices: int) -> None:
    """Raise WcedError unless this is one of `devices` processes, each with a GPU of its own where there are some."""
    processes, here = (int(os.environ[name]) if launched() else 1 for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if processes != devices:
        raise WcedError(
            f"pretraining.devices: {devices}, but this is one of {processes} process(es); `wced pretrain` starts as"
            " many as there are devices"
        )
    if torch.cuda.is_available() and torch.cuda.device_count() < here:
        raise WcedError(
            f"pretraining.devices: {here} processes on this machine, which shows {torch.cuda.device_count()} GPU(s);"
            " let the job have more of them, or ask for fewer devices"
        )

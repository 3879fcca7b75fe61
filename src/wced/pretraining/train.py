"""Pretrain one checkpoint: from shards to a Hugging Face folder, resuming where a killed job stopped."""

import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from wced import tables
from wced.config import pretraining as config
from wced.errors import WcedError
from wced.files import whole_folder
from wced.model import WcedConfig, WcedModel
from wced.ontology.cell_ontology import load as load_ontology
from wced.ontology.cut import OntologyCut, cut
from wced.pretraining import folder
from wced.pretraining.callbacks import GeneErrorFiles, QuietProgress, Saving
from wced.pretraining.gene_statistics import cell_values, measured_cells, nonzero
from wced.pretraining.module import PretrainingModule
from wced.pretraining.state import TrainingState
from wced.shards.batches import BatchDataset, BatchLoader
from wced.shards.encode import Encoding
from wced.shards.order import Order
from wced.shards.reader import ShardSet


def precision_of(word: str) -> str:
    """Return Lightning's precision; `auto` is bf16-mixed on a device with bfloat16 arithmetic, else 32-true."""
    if word != "auto":
        return word
    native = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if native else "32-true"


def encoding_of(section: config.Checkpoint) -> Encoding:
    """Return how a checkpoint's section turns cells into sequences."""
    mlm = section.objective == "mlm"
    return Encoding(
        length=section.input.length,
        subset=section.input.subset,
        values=section.input.values,
        bins=section.input.bins,
        zeros=section.input.zeros,
        nonzero_ratio=section.input.nonzero_ratio,
        nonzero_only=section.input.nonzero_only,
        dropout=section.input.dropout,
        select=section.masking.select if mlm else 0.0,
        mask=section.masking.mask if mlm else 0.0,
        cell_target=not mlm,
    )


def order_of(section: config.Order) -> Order:
    """Return in which order a checkpoint's section visits the training cells."""
    settings = section.model_dump(exclude={"bucket_steps"})
    return Order(**settings | {"field": "dataset" if section.field == "dataset_id" else section.field})


def classes_of(shards: ShardSet, column: str) -> tuple[str, ...]:
    """Return the classes of a label; raise WcedError if the shards lack the column or it has no class."""
    classes = shards.labels.classes.get(column)
    if not classes:
        raise WcedError(f"label_heads: the shards hold no class of {column}")
    return classes


def hierarchy(shards: ShardSet, section: config.Checkpoint) -> tuple[OntologyCut | None, dict[str, np.ndarray]]:
    """Return the ontology cut to the classes of the hierarchical heads, and each head's classes × leaves mask."""
    columns = [head.column for head in section.label_heads if head.loss == "hierarchical"]
    if not columns:
        return None, {}
    ontology = load_ontology()
    current = {column: [ontology.current(term) for term in classes_of(shards, column)] for column in columns}
    terms = {term for column in columns for term in current[column] if term is not None}
    graph = cut(ontology, terms)
    empty = np.zeros(len(graph.leaves), bool)
    masks = {
        column: np.stack([graph.descendant_leaves_tl[graph.index[term]] if term else empty for term in current[column]])
        for column in columns
    }
    return graph, masks


def build_model(
    shards: ShardSet, size: config.Model, section: config.Checkpoint, graph: OntologyCut | None, seed: int
) -> WcedModel:
    """Return the untrained model of a section, its weights drawn from `seed`.

    Raises
    ------
    WcedError
        If a label head names a column that has no class.
    """
    heads: list[dict[str, Any]] = []
    for head in section.label_heads:
        classes = classes_of(shards, head.column)
        outputs = len(graph.leaves) if head.loss == "hierarchical" and graph else len(classes)
        heads.append({"column": head.column, "loss": head.loss, "classes": outputs, "cls_position": head.cls_position})
    torch.manual_seed(seed)
    return WcedModel(
        WcedConfig(
            vocabulary_size=len(shards.vocabulary),
            vocabulary_sha256=shards.vocabulary.sha256,
            hidden_size=size.hidden_size,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.intermediate_size,
            value_encoder=size.value_encoder,
            value_frequencies=size.value_frequencies,
            cls_positions=size.cls_positions,
            decoder_width=size.decoder_width,
            head_dropout=size.head_dropout,
            objective=section.objective,
            label_heads=heads,
            input=section.input.model_dump(),
        )
    )


@torch.no_grad()
def start_from_statistics(model: WcedModel, shards: ShardSet) -> None:
    """Set the biases of the whole-cell decoder to each gene's log-odds of expression and mean value.

    Training then starts at the null model instead of spending its first epoch on reaching it.
    """
    if model.config.objective != "wced":
        return
    train = nonzero(cell_values(shards, "train"), len(shards.vocabulary))
    rate = np.clip(train.n / np.maximum(measured_cells(shards, "train"), 1), 1e-4, 1 - 1e-4)
    model.decoder.detection.bias.copy_(torch.from_numpy(np.log(rate / (1 - rate))))
    model.decoder.value.bias.copy_(torch.from_numpy(np.nan_to_num(train.mean)))


def pretrain(
    output: str | Path,
    shard_folder: str | Path,
    state_root: str | Path,
    section: config.Pretraining,
    name: str,
    seed: int,
) -> dict[str, Any]:
    """Pretrain the checkpoint `name` of a section and write its folder.

    Parameters
    ----------
    output
        Folder to make: `model/` (Hugging Face), `metrics.tsv`, `gene_errors.parquet`.
    shard_folder
        Folder with index.json and its shards.
    state_root
        Folder for the state from which a killed training goes on; it is removed at the end.
    section
        The pretraining section of the config.
    name
        Which of its checkpoints.
    seed
        Seed of weights, order of cells and sequences.

    Returns
    -------
    dict
        Facts for the provenance: device, precision, steps, cells, parameters.

    Raises
    ------
    WcedError
        If the shards are damaged, there is nothing to train or validate on, or a label head has no classes.
    """
    checkpoint = section.checkpoints[name]
    shards = ShardSet(shard_folder, verify=True)
    for split in ("train", "validation"):
        found = shards.count(split)
        if found < section.devices:
            raise WcedError(
                f"{shard_folder}: {found or 'no'} {split} cells for {section.devices} device(s); change cells.split"
            )
    print(f"vocabulary: {len(shards.vocabulary)} genes", flush=True)
    identity = {
        "model": section.model.model_dump(), "checkpoint": checkpoint.model_dump(), "name": name, "seed": seed,
        "devices": section.devices, "precision": precision_of(section.precision),
    }  # fmt: skip
    state = TrainingState(state_root, identity, Path(shard_folder) / "index.json")
    graph, masks = hierarchy(shards, checkpoint)
    model = build_model(shards, section.model, checkpoint, graph, seed)
    start_from_statistics(model, shards)

    encoding, order, bucket_steps = encoding_of(checkpoint), order_of(checkpoint.order), checkpoint.order.bucket_steps
    common = {"batch_size": checkpoint.batch_size, "seed": seed}
    train = BatchDataset(shards, "train", encoding, training=True, order=order, bucket_steps=bucket_steps, **common)
    # Masked language modelling validates on the same masks each epoch; whole-cell decoding on whole inputs.
    validation = BatchDataset(shards, "validation", encoding, training=checkpoint.objective == "mlm", **common)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
        trainer = L.Trainer(**_trainer_options(section, checkpoint, state, GeneErrorFiles(state, name, validation)))
        rank, ranks = trainer.global_rank, trainer.world_size
        loading = {"workers": section.workers, "pin_memory": torch.cuda.is_available()}
        loaders = [BatchLoader(dataset, rank=rank, ranks=ranks, **loading) for dataset in (train, validation)]
        steps_per_epoch = -(-len(loaders[0]) // checkpoint.accumulate)
        module = PretrainingModule(
            model,
            checkpoint,
            measured_dv=shards.measured_dv,
            descendant_leaves_cl=masks,
            steps=steps_per_epoch * checkpoint.epochs,
            steps_per_epoch=steps_per_epoch,
            progress_every=section.progress_every,
        )
        if state.last:
            print(f"resuming from {state.last}", flush=True)
        trainer.fit(module, *loaders, ckpt_path=state.last, weights_only=True)

    if trainer.is_global_zero:
        with whole_folder(output) as temporary:
            (temporary / "model").mkdir()
            folder.save(folder.Checkpoint(model, shards.vocabulary, shards.labels, graph), temporary / "model")
            tables.write(module.metrics_table(name), tables.METRICS, temporary / "metrics.tsv")
            epochs = [pd.read_parquet(state.gene_errors(epoch + 1)) for epoch in range(checkpoint.epochs)]
            tables.write(pd.concat(epochs), tables.GENE_ERRORS, temporary / "gene_errors.parquet")
        state.finish()
    return {
        "device": str(module.device),
        "precision": trainer.precision,
        "steps": trainer.global_step,
        "train_cells": shards.count("train"),
        "validation_cells": shards.count("validation"),
        "parameters": model.num_parameters(),
        "encoder_parameters": model.encoder_parameters,
        "seed": seed,
    }


def _trainer_options(
    section: config.Pretraining, checkpoint: config.Checkpoint, state: TrainingState, gene_errors: Callback
) -> dict[str, Any]:
    terminal = sys.stderr.isatty()
    saving = Saving(
        dirpath=state.folder, filename="last", train_time_interval=timedelta(minutes=section.save_every_minutes),
        enable_version_counter=False,
    )  # fmt: skip
    return {
        "accelerator": "auto",
        "devices": section.devices,
        # A batch may lack every label of a head, and heads wait for the reconstruction-only epochs. Buffers hold each
        # process's own sums of gene errors, which must not be overwritten with those of the first.
        "strategy": (
            DDPStrategy(find_unused_parameters=True, broadcast_buffers=False) if section.devices > 1 else "auto"
        ),
        "precision": precision_of(section.precision),
        "max_epochs": checkpoint.epochs,
        "accumulate_grad_batches": checkpoint.accumulate,
        "gradient_clip_val": checkpoint.optimiser.clip,
        "callbacks": [saving, gene_errors, RichProgressBar() if terminal else QuietProgress()],
        # A Slurm job is one allocation in which this process starts its ranks itself; Lightning would otherwise
        # expect one Slurm task per GPU.
        "plugins": [LightningEnvironment()],
        "logger": False,
        "enable_progress_bar": terminal,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
    }

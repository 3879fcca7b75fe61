"""Train a new head, and what of the encoder the mode trains, and compare it with methods without a model."""

from dataclasses import replace

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.plugins.environments import LightningEnvironment
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wced.checkpoint import Checkpoint
from wced.config import pretraining as config
from wced.config.finetuning import Finetuning
from wced.embedding.annotation import annotate
from wced.embedding.inputs import ModelInput
from wced.errors import WcedError
from wced.finetuning.model import Tuning, position_of, with_new_head
from wced.finetuning.result import Finetuned
from wced.finetuning.source import SPLITS, AnnDataSource
from wced.finetuning.split import LabelledCells, labelled_cells
from wced.objectives import LeafTargets
from wced.ontology.cell_ontology import load as load_ontology
from wced.pretraining.build import encoding_of, hierarchy
from wced.pretraining.callbacks import QuietProgress
from wced.pretraining.losses import Losses
from wced.pretraining.module import PretrainingModule
from wced.pretraining.train import precision_of
from wced.shards.batches import BatchDataset, BatchLoader
from wced.shards.components import log1p_10k
from wced.shards.input_genes import InputGenes, gene_choice
from wced.shards.vocabulary import Labels

COMPONENTS = 50
"""Principal components of the logistic regression that fine-tuning is compared with."""

METHODS = {
    "predicted": "fine-tuned",
    "pca_logistic": f"logistic regression on {COMPONENTS} principal components",
    "most_frequent": "most frequent class",
}
"""Methods that are compared on the validation and test cells, and their names for people."""


def finetune(
    cells: ModelInput,
    obs: pd.DataFrame,
    column: str,
    checkpoint: Checkpoint,
    section: Finetuning,
    *,
    seed: int = 0,
    name: str = "finetuned",
) -> Finetuned:
    """Fine-tune a checkpoint, which stays as it is, on a column of obs.

    `cells` are those of `wced.embedding.inputs.read_cells` with the same checkpoint. The seed is that of what is held
    out, of the head's weights, and of order, sequences and dropout; `name` is that of the result in tables. WcedError
    is raised if labels or split are not as they should be (`labelled_cells`), do not fit the checkpoint
    (`with_new_head`), are no Cell Ontology ids for a hierarchical loss, or the validation loss was no number in any
    epoch.

    Examples
    --------
    >>> tuned = finetune(read_cells(adata, checkpoint), adata.obs, "cell_type", checkpoint, Finetuning())
    """
    labelled = labelled_cells(obs, column, np.diff(cells.cells.offsets) == 0, section, seed)
    old = checkpoint.labels
    metadata = [entry["column"] for entry in checkpoint.model.config.metadata]
    codes = {name: cells.metadata_nm[:, m] for m, name in enumerate(metadata)} | {column: labelled.code_n}
    classes = {name: old.classes[name] for name in metadata} | {column: labelled.classes}
    source = AnnDataSource(cells, checkpoint.vocabulary, Labels(classes, {}), codes, labelled.split_n)
    if section.loss == "hierarchical":
        cl = load_ontology()
        if unknown := [term for term in labelled.classes if cl.current(term) is None]:
            raise WcedError(
                f"{column}: {unknown[0]!r} is not in the Cell Ontology {cl.version}; loss hierarchical wants its ids"
            )
    training = _training(section, column, checkpoint)
    graph, targets = hierarchy(source, training)
    if graph is not None and len(graph.leaves) < 2:
        raise WcedError(f"{column}: all its classes are ancestors of one of them; a hierarchy needs two leaves")
    model = with_new_head(checkpoint, column, len(labelled.classes), graph, section, seed)
    tuning = Tuning(model, section)
    trained_parameters = sum(value.numel() for value in tuning.trained.values())
    metrics = _fit(tuning, source, training, targets, section, checkpoint.input_genes, seed).metrics_table(name)
    labels = replace(
        old,
        classes=old.classes | {column: labelled.classes},
        unknown_in_validation=old.unknown_in_validation | {column: labelled.unseen},
    )
    hierarchical = any(head["loss"] == "hierarchical" for head in model.config.label_heads)
    ontology = (checkpoint.ontology if graph is None else graph) if hierarchical else None
    tuned = replace(checkpoint, model=tuning.finish(), labels=labels, ontology=ontology)
    predictions = _predictions(tuned, cells, source, labelled, column, section.batch_size, obs.index)
    scores, comparison = _comparison(predictions.assign(**_simple_predictions(source, labelled, seed)), column)
    rows = [[split, tuning.epoch, tuning.step, metric, value, name] for split, metric, value in scores]
    return Finetuned(
        checkpoint=tuned, section=section, column=column, name=name,
        metrics=pd.concat([metrics, pd.DataFrame(rows, columns=metrics.columns)]), predictions=predictions,
        best_epoch=tuning.epoch, trained_parameters=trained_parameters,
        notes=(*labelled.notes, *_ending(metrics, tuning.epoch, section), *comparison),
    )  # fmt: skip


def _training(section: Finetuning, column: str, checkpoint: Checkpoint) -> config.Checkpoint:
    """Return the section of a pretraining that trains the same, with the input of the checkpoint."""
    weight, changes = section.reconstruction, {} if section.dropout is None else {"dropout": section.dropout}
    head = config.LabelHead(
        column=column, loss=section.loss, focal_gamma=section.focal_gamma, residual_weight=section.residual_weight,
        cls_position=position_of(section, checkpoint.model.config),
    )  # fmt: skip
    return config.Checkpoint(
        wced=config.WholeCell(detection_weight=weight, value_weight=weight) if weight else None,
        label_heads=[head],
        input=config.Input(**checkpoint.model.config.input | changes),
        epochs=section.epochs,
        batch_size=section.batch_size,
        optimiser=section.optimiser,
    )


def _fit(
    tuning: Tuning, source: AnnDataSource, training: config.Checkpoint, targets: dict[str, LeafTargets],
    section: Finetuning, genes: InputGenes, seed: int,
) -> PretrainingModule:  # fmt: skip
    """Train until the validation loss no longer falls; return the module with the metrics of all epochs."""
    column, encoding = training.label_heads[0].column, encoding_of(training)
    balanced = {"strategy": "weighted", "columns": (column,), "power": section.balance}
    order = config.Order(**balanced if section.balance else {})
    choice = gene_choice(genes, source.measured_dv, training.input)
    common = {"batch_size": section.batch_size, "seed": seed, "choice": choice}
    datasets = (
        BatchDataset(source, "train", encoding, training=True, order=order, **common),
        BatchDataset(source, "validation", encoding, training=False, **common),
    )
    loaders = [BatchLoader(dataset, pin_memory=torch.cuda.is_available()) for dataset in datasets]
    losses = Losses(
        training, measured_dv=source.measured_dv, label_columns=source.label_columns, number_columns=(),
        leaf_targets=targets, standard={},
    )  # fmt: skip
    module = PretrainingModule(
        tuning.model.train(), training, losses, {}, seed=seed, steps=len(loaders[0]) * section.epochs,
        steps_per_epoch=len(loaders[0]), progress_every=section.progress_every,
        metadata_at=[i for i, name in enumerate(source.label_columns) if name != column],
    )  # fmt: skip
    stopping = [] if section.patience is None else [EarlyStopping("validation_loss", patience=section.patience)]
    trainer = L.Trainer(
        accelerator="auto", devices=1, precision=precision_of(section.precision), max_epochs=section.epochs,
        gradient_clip_val=section.optimiser.clip, callbacks=[tuning, *stopping, QuietProgress()],
        plugins=[LightningEnvironment()], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, *loaders)
    if not tuning.epoch:
        raise WcedError(f"{column}: the validation loss was no number in any epoch; lower optimiser.learning_rate")
    return module


def _predictions(
    tuned: Checkpoint, cells: ModelInput, source: AnnDataSource, labelled: LabelledCells, column: str, batch_size: int,
    obs_names: pd.Index,
) -> pd.DataFrame:  # fmt: skip
    """Return the labels that `wced annotate` gives validation and test cells, the most probable leaf of a hierarchy."""
    parts = []
    for split in SPLITS[1:]:
        rows = source.places(split)
        metadata_nm = None if cells.metadata_nm is None else cells.metadata_nm[rows]
        held_out = replace(cells, cells=source.take(rows), metadata_nm=metadata_nm)
        table = annotate(held_out, obs_names[rows].astype(str), tuned, column=column, batch_size=batch_size)
        table = table.rename(columns={"predicted_term": "predicted"}).assign(split=split, label=labelled.value_n[rows])
        parts.append(table[["cell", "split", "label", "predicted", "probability"]])
    return pd.concat(parts, ignore_index=True)


def _simple_predictions(source: AnnDataSource, labelled: LabelledCells, seed: int) -> dict[str, np.ndarray]:
    """Return the labels of validation, then test cells by methods without a pretrained model, fitted on train cells.

    Logistic regression of standardised principal components of log1p(counts per 10,000), and the most frequent class.
    """
    train, *held_out = (source.places(split) for split in SPLITS)
    rows, code_n = np.concatenate([train, *held_out]), labelled.code_n[train]
    cells = source.take(rows)
    counts_ng = sparse.csr_matrix((cells.count, cells.gene, cells.offsets), (len(rows), len(source.vocabulary)))
    log1p_ng = log1p_10k(counts_ng)
    components = min(COMPONENTS, len(train) - 1, counts_ng.shape[1] - 1)
    pca = PCA(components, svd_solver="arpack", random_state=seed)
    model = make_pipeline(pca, StandardScaler(), LogisticRegression(max_iter=1000)).fit(log1p_ng[: len(train)], code_n)
    frequent = np.full(len(rows) - len(train), np.bincount(code_n).argmax())
    codes = {"pca_logistic": model.predict(log1p_ng[len(train) :]), "most_frequent": frequent}
    return {method: np.array(labelled.classes, object)[code] for method, code in codes.items()}


def _comparison(predictions: pd.DataFrame, column: str) -> tuple[list[tuple[str, str, float]], list[str]]:
    """Return split, metric and value of the scores of every method, and a note on each split."""
    scores, notes = [], []
    for split, table in predictions.groupby("split", sort=False):
        parts = []
        for method, text in METHODS.items():
            accuracy = accuracy_score(table["label"], table[method])
            macro_f1 = f1_score(table["label"], table[method], average="macro")
            scores.append((split, f"{column}_{method}_accuracy", accuracy))
            scores.append((split, f"{column}_{method}_macro_f1", macro_f1))
            parts.append(f"{text} {macro_f1:.3f} ({accuracy:.3f})")
        notes.append(f"macro F1 (accuracy) of {split} cells: {'; '.join(parts)}")
    return scores, notes


def _ending(metrics: pd.DataFrame, best_epoch: int, section: Finetuning) -> list[str]:
    """Return a note if training ended by its number of epochs, before the validation loss had stopped falling."""
    last = int(metrics["epoch"].max())
    if last < section.epochs or last - best_epoch >= (section.patience or 1):
        return []
    return [
        f"the validation loss may still fall: its best epoch is {best_epoch} of {last}, the most that epochs allows; "
        "raise epochs, or optimiser.learning_rate"
    ]

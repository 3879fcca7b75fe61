"""Teach a pretrained model a column of labels of an AnnData."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.plugins.environments import LightningEnvironment
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from wced import tables
from wced.checkpoint import Checkpoint, save
from wced.config import pretraining as config
from wced.config.finetuning import Finetuning
from wced.embedding.annotation import annotate
from wced.embedding.inputs import ModelInput
from wced.errors import WcedError
from wced.files import whole_folder
from wced.finetuning.card import card
from wced.finetuning.model import Tuning, position_of, with_new_head
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
from wced.shards.input_genes import GeneChoice, gene_choice
from wced.shards.vocabulary import Labels

COMPONENTS = 50
"""Principal components of the logistic regression that fine-tuning is compared with."""


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned model and how well it does."""

    checkpoint: Checkpoint
    """The model of the best epoch; its last label head is the new one. An ordinary checkpoint, in evaluation mode."""
    section: Finetuning
    """How it was trained."""
    column: str
    """What it learned."""
    name: str
    """Its name in the tables."""
    metrics: pd.DataFrame
    """Rows of `tables.METRICS`; those of the best epoch have accuracy and macro F1 of `predictions` too, and of two
    methods without a pretrained model: logistic regression on principal components, and the most frequent class."""
    predictions: pd.DataFrame
    """One row per validation and test cell: `cell`, `split`, `label`, `predicted`, `probability` (of what is
    predicted)."""
    best_epoch: int
    """Epoch of the smallest validation loss, from 1."""
    trained_parameters: int
    """Number of parameters that were trained."""
    notes: tuple[str, ...]
    """How many cells there were of what, what was left out, how training ended, and how well all methods do."""


class _BestEpoch(Callback):
    """Keep the weights of the epoch with the smallest validation loss."""

    def __init__(self, tuning: Tuning) -> None:
        self.tuning, self.loss, self.epoch, self.step = tuning, float("inf"), 0, 0

    def on_validation_end(self, trainer: L.Trainer, module: PretrainingModule) -> None:
        """Look at the epoch's loss."""
        loss = float(trainer.callback_metrics["validation_loss"])
        if loss < self.loss:
            self.loss, self.epoch, self.step = loss, trainer.current_epoch + 1, trainer.global_step
            self.tuning.keep()


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
    """Fine-tune a checkpoint.

    Parameters
    ----------
    cells
        What the model reads of an AnnData (`wced.embedding.inputs.read_cells`, with the same checkpoint).
    obs
        Its obs.
    column
        Column of obs to learn.
    checkpoint
        The pretrained model, which stays as it is.
    section
        How.
    seed
        Seed of what is held out, of the head's weights, and of order, sequences and dropout.
    name
        Name of the result in tables.

    Raises
    ------
    WcedError
        If the labels or the split are not as they should be (`labelled_cells`), do not fit the checkpoint
        (`with_new_head`), are no Cell Ontology ids for a hierarchical loss, or the validation loss was no number in any
        epoch.
    """
    found = labelled_cells(obs, column, np.diff(cells.cells.offsets) == 0, section, seed)
    source = _source(cells, found, column, checkpoint)
    if section.loss == "hierarchical":
        _check_terms(found.classes, column)
    training = _training(section, column, checkpoint)
    graph, targets = hierarchy(source, training)
    if graph is not None and len(graph.leaves) < 2:
        raise WcedError(f"{column}: all its classes are ancestors of one of them; a hierarchy needs two leaves")
    model = with_new_head(checkpoint, column, len(found.classes), graph, section, seed)
    tuning = Tuning(model, section)
    trained_parameters = sum(value.numel() for value in tuning.trained.values())
    choice = gene_choice(checkpoint.input_genes, source.measured_dv, training.input)
    best, metrics = _fit(tuning, source, training, targets, section, seed, name, choice)
    new = Labels(
        checkpoint.labels.classes | {column: found.classes},
        checkpoint.labels.unknown_in_validation | {column: found.unseen},
        checkpoint.labels.number_columns,
        checkpoint.labels.perturbations,
    )
    ontology = checkpoint.ontology if graph is None else graph
    if all(head["loss"] != "hierarchical" for head in model.config.label_heads):
        ontology = None
    tuned = Checkpoint(tuning.finish(), checkpoint.vocabulary, new, ontology, checkpoint.input_genes)
    predictions = _predictions(tuned, cells, source, found, column, section, obs.index)
    scores = _scores(predictions, _simple_predictions(source, found, seed), column)
    rows = [[split, best.epoch, best.step, metric, value, name] for (split, metric), value in scores.items()]
    return Finetuned(
        checkpoint=tuned, section=section, column=column, name=name,
        metrics=pd.concat([metrics, pd.DataFrame(rows, columns=metrics.columns)]), predictions=predictions,
        best_epoch=best.epoch, trained_parameters=trained_parameters,
        notes=(*found.notes, *_ending(metrics, best.epoch, section), *_comparison(scores, column)),
    )  # fmt: skip


def _simple_predictions(source: AnnDataSource, found: LabelledCells, seed: int) -> dict[str, np.ndarray]:
    """Return what methods without a pretrained model, fitted on the train cells, say of validation, then test cells.

    Logistic regression of standardised principal components of log1p(counts per 10,000), and the most frequent class.
    """
    train, *held_out = (source.places(split) for split in SPLITS)
    places, code_n = np.concatenate([train, *held_out]), found.code_n[train]
    cells = source.take(places)
    counts_ng = sparse.csr_matrix((cells.count, cells.gene, cells.offsets), (len(places), len(source.vocabulary)))
    log1p_ng = (normalize(counts_ng.astype(np.float32), "l1") * 1e4).log1p()
    components = min(COMPONENTS, len(train) - 1, counts_ng.shape[1] - 1)
    pca = PCA(components, svd_solver="arpack", random_state=seed)
    model = make_pipeline(pca, StandardScaler(), LogisticRegression(max_iter=1000)).fit(log1p_ng[: len(train)], code_n)
    frequent = np.full(len(places) - len(train), np.bincount(code_n).argmax())
    said = {"pca_logistic": model.predict(log1p_ng[len(train) :]), "most_frequent": frequent}
    return {method: np.array(found.classes, object)[code] for method, code in said.items()}


def _scores(predictions: pd.DataFrame, simple: dict[str, np.ndarray], column: str) -> dict[tuple[str, str], float]:
    """Return accuracy and macro F1 of every method, by split and the name of the metric."""
    return {
        (split, f"{column}_{method}_{metric}"): score(rows["label"], rows[method])
        for split, rows in predictions.assign(**simple).groupby("split", sort=False)
        for method in ("predicted", *simple)
        for metric, score in (("accuracy", accuracy_score), ("macro_f1", partial(f1_score, average="macro")))
    }


def _ending(metrics: pd.DataFrame, best_epoch: int, section: Finetuning) -> list[str]:
    """Say so where training ended by its number of epochs, before the validation loss had stopped falling."""
    last = int(metrics["epoch"].max())
    if last < section.epochs or last - best_epoch >= (section.patience or 1):
        return []
    return [
        f"the validation loss may still fall: its best epoch is {best_epoch} of {last}, the most that epochs allows; "
        "raise epochs, or optimiser.learning_rate"
    ]


def _comparison(scores: dict[tuple[str, str], float], column: str) -> list[str]:
    """Say how well each method does on the same cells."""
    words = {
        "predicted": "fine-tuned",
        "pca_logistic": f"logistic regression on {COMPONENTS} principal components",
        "most_frequent": "most frequent class",
    }
    return [
        f"macro F1 (accuracy) of {split} cells: "
        + "; ".join(
            f"{said} {scores[split, f'{column}_{method}_macro_f1']:.3f} "
            f"({scores[split, f'{column}_{method}_accuracy']:.3f})"
            for method, said in words.items()
        )
        for split in dict.fromkeys(split for split, _ in scores)
    ]


def write(tuned: Finetuned, output: str | Path, *, base: str) -> None:
    """Write `model/` (an ordinary checkpoint's folder), `metrics.tsv` and `predictions.parquet`.

    Parameters
    ----------
    tuned
        What `finetune` returned.
    output
        Folder to make.
    base
        SHA-256 of the weights that it started from, for the model card.
    """
    with whole_folder(output) as temporary:
        (temporary / "model").mkdir()
        save(tuned.checkpoint, temporary / "model", card=card(tuned, base))
        tables.write(tuned.metrics, tables.METRICS, temporary / "metrics.tsv")
        tuned.predictions.to_parquet(temporary / "predictions.parquet", index=False)


def _source(cells: ModelInput, found: LabelledCells, column: str, checkpoint: Checkpoint) -> AnnDataSource:
    """Return the cells with the codes of the label and of the metadata that the model reads."""
    metadata = [entry["column"] for entry in checkpoint.model.config.metadata]
    codes = {name: cells.metadata_nm[:, m] for m, name in enumerate(metadata)} | {column: found.code_n}
    classes = {name: checkpoint.labels.classes[name] for name in metadata} | {column: found.classes}
    return AnnDataSource(cells, checkpoint.vocabulary, Labels(classes, {}), codes, found.split_n)


def _check_terms(classes: tuple[str, ...], column: str) -> None:
    ontology = load_ontology()
    for term in classes:
        if ontology.current(term) is None:
            raise WcedError(
                f"{column}: {term!r} is not in the Cell Ontology {ontology.version}; loss hierarchical wants its ids"
            )


def _training(section: Finetuning, column: str, checkpoint: Checkpoint) -> config.Checkpoint:
    """Say in the words of pretraining what is trained, with the input of the checkpoint."""
    weight = section.reconstruction
    head = {
        "column": column, "loss": section.loss, "focal_gamma": section.focal_gamma,
        "residual_weight": section.residual_weight,
    }  # fmt: skip
    changed = {} if section.dropout is None else {"dropout": section.dropout}
    return config.Checkpoint(
        wced=config.WholeCell(detection_weight=weight, value_weight=weight) if weight else None,
        label_heads=[config.LabelHead(**head, cls_position=position_of(section, checkpoint.model.config))],
        input=config.Input(**checkpoint.model.config.input | changed),
        epochs=section.epochs,
        batch_size=section.batch_size,
        optimiser=section.optimiser,
    )


def _fit(
    tuning: Tuning,
    source: AnnDataSource,
    training: config.Checkpoint,
    targets: dict[str, LeafTargets],
    section: Finetuning,
    seed: int,
    name: str,
    choice: GeneChoice,
) -> tuple[_BestEpoch, pd.DataFrame]:
    """Train until the validation loss no longer falls; return the best epoch and the metrics of all."""
    column, encoding = training.label_heads[0].column, encoding_of(training)
    balanced = {"strategy": "weighted", "columns": (column,), "power": section.balance}
    order = config.Order(**balanced if section.balance else {})
    common = {"batch_size": section.batch_size, "seed": seed, "choice": choice}
    datasets = (
        BatchDataset(source, "train", encoding, training=True, order=order, **common),
        BatchDataset(source, "validation", encoding, training=False, **common),
    )
    loaders = [BatchLoader(dataset, pin_memory=torch.cuda.is_available()) for dataset in datasets]
    module = PretrainingModule(
        tuning.model.train(),
        training,
        Losses(
            training, measured_dv=source.measured_dv, label_columns=source.label_columns, number_columns=(),
            leaf_targets=targets, standard={},
        ),
        {},
        seed=seed,
        steps=len(loaders[0]) * section.epochs,
        steps_per_epoch=len(loaders[0]),
        progress_every=section.progress_every,
        metadata_at=[i for i, name in enumerate(source.label_columns) if name != column],
    )  # fmt: skip
    best = _BestEpoch(tuning)
    stopping = [] if section.patience is None else [EarlyStopping("validation_loss", patience=section.patience)]
    trainer = L.Trainer(
        accelerator="auto", devices=1, precision=precision_of(section.precision), max_epochs=section.epochs,
        gradient_clip_val=section.optimiser.clip, callbacks=[best, *stopping, QuietProgress()],
        plugins=[LightningEnvironment()], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, *loaders)
    if not best.epoch:
        raise WcedError(f"{column}: the validation loss was no number in any epoch; lower optimiser.learning_rate")
    return best, module.metrics_table(name)


def _predictions(
    tuned: Checkpoint,
    cells: ModelInput,
    source: AnnDataSource,
    found: LabelledCells,
    column: str,
    section: Finetuning,
    obs_names: pd.Index,
) -> pd.DataFrame:
    """Return what `wced annotate` says of validation and test cells, the most probable leaf of a hierarchy."""
    parts = []
    for split in SPLITS[1:]:
        places = source.places(split)
        metadata_nm = None if cells.metadata_nm is None else cells.metadata_nm[places]
        held_out = replace(cells, cells=source.take(places), metadata_nm=metadata_nm)
        said = annotate(held_out, obs_names[places].astype(str), tuned, column=column, batch_size=section.batch_size)
        said = said.rename(columns={"predicted_term": "predicted"}).assign(split=split, label=found.value_n[places])
        parts.append(said[["cell", "split", "label", "predicted", "probability"]])
    return pd.concat(parts, ignore_index=True)

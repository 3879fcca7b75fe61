"""Fine-tuning in every mode, beside probes of the frozen embedding on the same cells."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from wced import checkpoint, h5ad
from wced.benchmarks import lcad
from wced.benchmarks.finetuned_annotation import PROBES, REFERENCE, FinetunedAnnotation
from wced.benchmarks.finetuned_annotation.figures import methods_figure
from wced.benchmarks.job import Job, rows
from wced.benchmarks.label_scores import label_scores
from wced.benchmarks.probe import DISTANCES
from wced.benchmarks.probe.score import PROTOCOL, predictions
from wced.embedding.inputs import read_cells
from wced.errors import WcedError
from wced.finetuning.split import TEST, TRAIN, labelled_cells
from wced.finetuning.train import finetune
from wced.ontology import load
from wced.stats import Score, missing


def score(job: Job) -> pd.DataFrame:
    """Fine-tune the checkpoint in every mode on the dataset's train cells, and score all modes on its test cells.

    The probes are fitted on the checkpoint's frozen embedding of the same train cells, standardised; validation cells,
    by which fine-tuning stops, are neither fitted on nor scored.

    Each mode and probe has accuracy (Wilson's interval), macro and weighted F1 (bootstrap over cells); each mode also
    `gain_macro_f1` and `gain_weighted_f1` over the SGD probe (the same bootstrap, so paired). Test cells of types that
    train lacks count as wrong, and `…_seen_types` are the scores of the others. `lcad_errors` is the mean distance in
    the Cell Ontology from the true to the predicted type of wrong cells, `lcad` that of all, `lcad_unseen_types` that
    of cells of types that train lacks. All are empty, with the reason, where the cells cannot be divided.

    Raises WcedError if the embedding is of other cells than the dataset, or the dataset lacks a column that the section
    names.
    """
    section: FinetunedAnnotation = job.section
    modes = [section.tuning(mode, job.dataset) for mode in section.modes]
    held_out = modes[0].held_out
    adata, model = h5ad.read(job.source), checkpoint.load(job.checkpoint)
    if not adata.obs_names.equals(job.embedding.obs_names):
        raise WcedError(f"{job.source}: its cells are not those of the embedding by {job.model}")
    for column in (section.column, held_out.column):
        if column is not None and column not in adata.obs:
            raise WcedError(f"{job.source}: obs has no column {column}, which benchmarks.finetuned_annotation names")
    cells = read_cells(adata, model, min_gene_share=0)  # embedding them has checked that
    try:
        labelled = labelled_cells(adata.obs, section.column, np.diff(cells.cells.offsets) == 0, modes[0], job.seed)
    except WcedError as error:
        return _unscored(job, str(error))
    train_n, test_n = labelled.split_n == TRAIN, labelled.split_n == TEST
    if not test_n.any():
        return _unscored(job, f"{held_out.column} says test of no labelled cell")

    predicted_n = {}
    for mode in modes:
        labels = finetune(cells, adata.obs, section.column, model, mode, seed=job.seed).predictions
        labels = labels[labels["split"] == "test"].set_index("cell")["predicted"]
        predicted_n[mode.mode] = labels.loc[adata.obs_names[test_n].astype(str)].to_numpy(str)
    x_nd, label_n = np.asarray(job.embedding.X, dtype=np.float32), labelled.value_n.astype(str)
    probed = predictions(x_nd[train_n], label_n[train_n], x_nd[test_n], job.seed)
    predicted_n |= {f"probe_{name}": values for name, values in probed.items()}
    true_n, seen_n = label_n[test_n], labelled.code_n[test_n] >= 0
    scores = _scores(true_n, predicted_n, job.seed) | _distances(true_n, predicted_n, seen_n, job.seed)
    if 0 < seen_n.sum() < len(seen_n):
        seen = _scores(true_n[seen_n], {name: values[seen_n] for name, values in predicted_n.items()}, job.seed)
        scores |= {f"{name}_seen_types": value for name, value in seen.items()}
    if job.figures is not None:
        methods_figure(job, scores, list(predicted_n), len(true_n))
    by = {"cell": "single cells held out", "group": f"whole {held_out.column} held out"}
    split = f"{by.get(held_out.by, f'as {held_out.column} says')}: {'; '.join(labelled.notes)}"
    if not seen_n.all():
        split += f"; {(~seen_n).sum()} test cells of types that train lacks"
    return _table(job, scores, split, len(true_n))


def _unscored(job: Job, reason: str) -> pd.DataFrame:
    """Return empty rows for the scores that there would have been."""
    modes = [mode.mode for mode in job.section.modes]
    metrics = ("accuracy", "macro_f1", "weighted_f1", *DISTANCES)
    names = [f"{metric}_{name}" for name in (*modes, *PROBES) for metric in metrics]
    names += [f"gain_{average}_f1_{mode}" for mode in modes for average in ("macro", "weighted")]
    return _table(job, dict.fromkeys(names, missing(reason)), "none", 0)


def _scores(true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray], seed: int) -> dict[str, Score]:
    labels = label_scores(true_n, predicted_n, seed, REFERENCE)
    names = ("accuracy", "macro_f1", "gain_macro_f1", "weighted_f1", "gain_weighted_f1")
    return {
        f"{name}_{method}": labels[f"{name}_{method}"]
        for method in predicted_n
        for name in names
        if method not in PROBES or not name.startswith("gain")
    }


def _distances(
    true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray], seen_n: np.ndarray, seed: int
) -> dict[str, Score]:
    """Return the LCAD of each method over wrong and over all cells, and over those of types that train lacks."""
    scores = {}
    for name, label_n in predicted_n.items():
        distances = lcad.scores(true_n, label_n, load(), seed)
        scores |= {f"{metric}_{name}": distances[metric] for metric in DISTANCES}
        if not seen_n.all():
            unseen = lcad.scores(true_n[~seen_n], label_n[~seen_n], load(), seed)["lcad"]
            scores[f"lcad_unseen_types_{name}"] = unseen
    return scores


def _table(job: Job, scores: Mapping[str, Score], split: str, n: int) -> pd.DataFrame:
    epochs = ", ".join(f"{mode.epochs} ({mode.mode})" for mode in job.section.modes)
    protocol = f"fine-tuned: best epoch by validation loss of at most {epochs}; probes: {PROTOCOL}"
    label = job.section.column
    return rows(job, "finetuned_annotation", scores, protocol=protocol, split=split, n=n, label=label)

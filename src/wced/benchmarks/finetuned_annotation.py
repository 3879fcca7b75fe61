"""Fine-tuned annotation: what a checkpoint learns of a part of the cells, judged by batches or donors it never saw."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from wced.benchmarks import lcad, probe
from wced.benchmarks.job import Job, Metric
from wced.benchmarks.label_scores import LabelScores
from wced.benchmarks.scores import rows
from wced.config.benchmarks.finetuned_annotation import FinetunedAnnotation
from wced.config.finetuning import Finetuning, HeldOut
from wced.errors import WcedError
from wced.figures import INDIGO, LINE, save_figure, styled
from wced.figures.charts import intervals, name_rows, panels
from wced.stats import Score, missing

if TYPE_CHECKING:
    from wced.checkpoint import Checkpoint
    from wced.embedding.inputs import ModelInput

TITLE = "Fine-tuned annotation"
MODES = {
    "full": "fine-tuned",
    "lora": "LoRA",
    "last_layers": "last layers",
    "frozen": "new head",
    **{f"probe_{name}": f"{title} probe" for name, title in probe.CLASSIFIERS.items()},
}
"""Short names of the ways to predict: the modes of fine-tuning, and the probes of the frozen embedding."""
PROBES = tuple(f"probe_{name}" for name in probe.CLASSIFIERS)
DISTANCES = ("lcad_errors", "lcad")
"""Mean LCAD of the cells that are predicted wrongly, and of all cells."""
REFERENCE = "probe_sgd"
"""The probe that fine-tuning is compared with, as in the paper's Figure 5."""
_MEANING = {
    f"weighted_f1_{REFERENCE}": "Gain: weighted F1 of fine-tuning minus that of the SGD probe on the same cells.",
    f"lcad_errors_{REFERENCE}": "LCAD: steps in the Cell Ontology from a wrong cell's true to its predicted type.",
}
METRICS = tuple(
    Metric(
        f"{metric}_{mode}",
        f"{title}, {name}",
        _MEANING.get(f"{metric}_{mode}", ""),
        headline=(metric, mode) == ("weighted_f1", "full"),
        higher_is_better=metric != "lcad_errors",
    )
    for metric, title in (
        ("weighted_f1", "Weighted F1"),
        ("macro_f1", "F1"),
        ("gain_weighted_f1", "Gain"),
        ("accuracy", "Acc."),
        ("lcad_errors", "LCAD"),
    )
    for mode, name in MODES.items()
    if metric != "gain_weighted_f1" or mode not in PROBES
)


def score(job: Job) -> pd.DataFrame:
    """Fine-tune the checkpoint in every mode on the dataset's train cells, and score all modes on its test cells.

    The probes are fitted on the checkpoint's frozen embedding of the very train cells, standardised; validation cells,
    by which fine-tuning stops, are neither fitted on nor scored.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES for each mode and probe: accuracy (Wilson's interval), macro and weighted F1 (bootstrap
        over cells); of each mode also `gain_macro_f1` and `gain_weighted_f1` over the SGD probe (the same bootstrap,
        so paired). Where test has cells of types that train lacks, these count as wrong, and `…_seen_types` are the
        scores of the others. `lcad_errors` is the mean distance in the Cell Ontology from the true to the predicted
        type of cells that are predicted wrongly, `lcad` that of all, `lcad_unseen_types` that of cells of types that
        train lacks.
        All are empty, with the reason, where the cells cannot be divided.

    Raises
    ------
    WcedError
        If the embedding is of other cells than the dataset, or the dataset lacks a column that the section names.
    """
    from wced import h5ad
    from wced.checkpoint import load
    from wced.embedding.inputs import read_cells
    from wced.finetuning.split import TEST, TRAIN, labelled_cells

    section: FinetunedAnnotation = job.section
    modes = [section.tuning(mode, job.dataset) for mode in section.modes]
    adata, checkpoint = h5ad.read(job.source), load(job.checkpoint)
    if not adata.obs_names.equals(job.embedding.obs_names):
        raise WcedError(f"{job.source}: its cells are not those of the embedding by {job.model}")
    for column in (section.column, modes[0].held_out.column):
        if column is not None and column not in adata.obs:
            raise WcedError(f"{job.source}: obs has no column {column}, which benchmarks.finetuned_annotation names")
    cells = read_cells(adata, checkpoint, min_gene_share=0)  # embedding them has judged that
    try:
        found = labelled_cells(adata.obs, section.column, np.diff(cells.cells.offsets) == 0, modes[0], job.seed)
    except WcedError as error:
        return _unscored(job, str(error))
    train_n, test_n = found.split_n == TRAIN, found.split_n == TEST
    if not test_n.any():
        return _unscored(job, f"{modes[0].held_out.column} says test of no labelled cell")

    predicted_n = {}
    for mode in modes:
        predicted_n[mode.mode] = _finetuned(cells, adata.obs, section.column, checkpoint, mode, job.seed, test_n)
    x_nd = np.asarray(job.embedding.X, dtype=np.float32)
    probed = probe.predictions(x_nd[train_n], found.value_n[train_n].astype(str), x_nd[test_n], job.seed)
    predicted_n |= {f"probe_{name}": probed[name] for name in probe.CLASSIFIERS}
    true_n, seen_n = found.value_n[test_n].astype(str), found.code_n[test_n] >= 0
    split = _split(modes[0].held_out, found.notes, seen_n)
    scores = dict(_scores(true_n, predicted_n, job.seed))
    scores |= dict(_distances(true_n, predicted_n, seen_n, job))
    if 0 < seen_n.sum() < len(seen_n):
        chosen = {name: values[seen_n] for name, values in predicted_n.items()}
        scores |= {f"{name}_seen_types": value for name, value in _scores(true_n[seen_n], chosen, job.seed)}
    if job.figures is not None:
        _figure(job, scores, list(predicted_n), len(true_n))
    return _table(job, scores, split, len(true_n))


def _finetuned(
    cells: "ModelInput",
    obs: pd.DataFrame,
    column: str,
    checkpoint: "Checkpoint",
    mode: Finetuning,
    seed: int,
    test_n: np.ndarray,
) -> np.ndarray:
    """Return the labels that the fine-tuned checkpoint gives the test cells."""
    from wced.finetuning.train import finetune

    tuned = finetune(cells, obs, column, checkpoint, mode, seed=seed)
    said = tuned.predictions[tuned.predictions["split"] == "test"].set_index("cell")["predicted"]
    return said.loc[obs.index[test_n].astype(str)].to_numpy(str)


def _unscored(job: Job, reason: str) -> pd.DataFrame:
    """Return empty rows for the scores that there would have been."""
    modes = [mode.mode for mode in job.section.modes]
    metrics = ("accuracy", "macro_f1", "weighted_f1", *DISTANCES)
    names = [f"{metric}_{name}" for name in (*modes, *PROBES) for metric in metrics]
    names += [f"gain_{average}_f1_{mode}" for mode in modes for average in ("macro", "weighted")]
    return _table(job, dict.fromkeys(names, missing(reason)), "none", 0)


def _scores(true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray], seed: int) -> Iterator[tuple[str, Score]]:
    scores = LabelScores(true_n, predicted_n, seed)
    for name in predicted_n:
        yield f"accuracy_{name}", scores.accuracy(name)
        for average in ("macro", "weighted"):
            yield f"{average}_f1_{name}", scores.f1(name, average)
            if name not in PROBES:
                yield f"gain_{average}_f1_{name}", scores.gain(name, REFERENCE, average)


def _distances(
    true_n: np.ndarray, predicted_n: Mapping[str, np.ndarray], seen_n: np.ndarray, job: Job
) -> Iterator[tuple[str, Score]]:
    """Yield the LCAD of each method over wrong and over all cells, and over those of types that train lacks."""
    from wced.ontology import load

    ontology = load()
    for name, label_n in predicted_n.items():
        scores = lcad.scores(true_n, label_n, ontology, job.seed)
        yield from ((f"{metric}_{name}", scores[metric]) for metric in DISTANCES)
        if not seen_n.all():
            unseen = lcad.scores(true_n[~seen_n], label_n[~seen_n], ontology, job.seed)["lcad"]
            yield f"lcad_unseen_types_{name}", unseen


def _split(held_out: HeldOut, notes: tuple[str, ...], seen_n: np.ndarray) -> str:
    by = {"cell": "single cells held out", "group": f"whole {held_out.column} held out"}
    unseen = f"; {(~seen_n).sum()} test cells of types that train lacks" if not seen_n.all() else ""
    return f"{by.get(held_out.by, f'as {held_out.column} says')}: {'; '.join(notes)}{unseen}"


def _table(job: Job, scores: Mapping[str, Score], split: str, n: int) -> pd.DataFrame:
    return rows(
        job.embedding,
        scores,
        run=job.run,
        task="finetuned_annotation",
        protocol=(
            "fine-tuned: best epoch by validation loss of at most "
            f"{', '.join(f'{mode.epochs} ({mode.mode})' for mode in job.section.modes)}; probes: {probe.PROTOCOL}"
        ),
        split=split,
        n=n,
        seed=job.seed,
        label=job.section.column,
    )


@styled
def _figure(job: Job, scores: Mapping[str, Score], methods: Sequence[str], cells: int) -> None:
    """Draw the scores of the methods on so many cells, from above, with their intervals (BMFM-RNA paper, Figure 5)."""
    titles = {"weighted_f1": "Weighted F1", "macro_f1": "Macro F1", "accuracy": "Accuracy"}
    rows = [(metric, method, scores[f"{metric}_{method}"]) for metric in titles for method in methods]
    table = pd.DataFrame(
        [(metric, method, score.value, score.ci_low, score.ci_high) for metric, method, score in rows],
        columns=["metric", "method", "value", "ci_low", "ci_high"],
    )
    figure, axes = panels(3, 8.5 / 3, 0.9 + 0.32 * len(methods), sharex=True, sharey=True)
    colours = [LINE if method in PROBES else INDIGO for method in methods]
    for axis, (metric, title) in zip(axes, titles.items(), strict=True):
        intervals(axis, table[table["metric"] == metric], range(len(methods)), colours)
        name_rows(axis, [MODES[method] for method in methods])
        axis.set_title(title)
    save_figure(
        job.figures,
        "finetuned",
        figure,
        title="Fine-tuned annotation",
        caption=(
            f"{job.model} on {cells} test cells of {job.dataset}. Blue: fine-tuned; grey: classifiers of the frozen "
            "embedding. Lines are 95% intervals."
        ),
        data=table,
    )

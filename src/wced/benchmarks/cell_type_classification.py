"""Cell-type classification: what simple classifiers read from a frozen embedding, cross-validated."""

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.benchmarks.scores import CELL_TYPE, Score, known, missing, rows
from wced.config.benchmarks import Classification

logger = logging.getLogger(__name__)

TASK = "cell_type_classification"
CLASSIFIERS = ("lr", "knn", "rf")
"""cz-benchmarks' logistic regression, 5 nearest neighbours and random forest."""
METRICS = {"macro_f1": "f1", "accuracy": "accuracy"}
"""Our names of cz-benchmarks' scores."""


def score(embedding: AnnData, section: Classification, *, run: str, seed: int) -> pd.DataFrame:
    """Score one embedding by cz-benchmarks' label prediction task.

    Parameters
    ----------
    embedding
        Cells × dimensions with the obs column `cell_type_ontology_term_id`. Unlabelled cells and those of rare classes
        are left out.
    section
        Config of the task.
    run
        Name of the run.
    seed
        Seed of the folds and of the random forest.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES: macro F1 and accuracy of each classifier (`macro_f1_lr`) and of all together
        (`macro_f1`), the mean of the folds with a t interval. The folds share training cells, so the interval is
        narrower than one of repeated studies would be.
    """
    labels = embedding.obs[CELL_TYPE].astype(str)
    labelled = known(labels)
    sizes = labels[labelled].value_counts()
    common = sizes.index[sizes >= section.min_class_size]
    scored = labelled & labels.isin(common).to_numpy()
    rare = labelled & ~scored
    x_nd = np.asarray(embedding.X, dtype=np.float32)[scored]
    return rows(
        embedding,
        dict(_scores(x_nd, labels[scored], section, seed)),
        run=run,
        task=TASK,
        protocol=(
            f"cz-benchmarks {version('cz-benchmarks')} label prediction: logistic regression (lr, at most 100 steps), "
            f"nearest neighbours (knn), both on features of unit variance; random forest (rf); without suffix the mean"
        ),
        split=(
            f"{section.folds} stratified folds; left out: {(~labelled).sum()} cells without a cell type, {rare.sum()} "
            f"cells of {len(sizes) - len(common)} classes under {section.min_class_size} cells"
        ),
        n=int(scored.sum()),
        seed=seed,
    )


def _scores(x_nd: np.ndarray, labels: pd.Series, section: Classification, seed: int) -> Iterator[tuple[str, Score]]:
    n_classes = labels.nunique()
    reasons = dict.fromkeys(METRICS, "")
    if n_classes < 2:
        reasons = dict.fromkeys(METRICS, f"{n_classes} classes of {section.min_class_size} cells or more")
    elif labels.value_counts().min() < section.folds:
        reasons = dict.fromkeys(METRICS, f"a class has fewer cells than there are folds ({section.folds})")
    elif n_classes == 2:
        # cz-benchmarks turns to the F1 of one class then, which is another thing than the mean over classes.
        reasons["macro_f1"] = "with two classes cz-benchmarks gives no macro F1"
    results = None if all(reasons.values()) else _folds(x_nd, labels, section, seed)
    for metric, theirs in METRICS.items():
        for classifier in (None, *CLASSIFIERS):
            name = metric if classifier is None else f"{metric}_{classifier}"
            if reasons[metric]:
                yield name, missing(reasons[metric])
                continue
            chosen = results if classifier is None else results[results["classifier"] == classifier]
            yield name, _interval(chosen.groupby("split")[theirs].mean().to_numpy())


def _folds(x_nd: np.ndarray, labels: pd.Series, section: Classification, seed: int) -> pd.DataFrame:
    """Return cz-benchmarks' score of every classifier in every fold."""
    from czbenchmarks.tasks.label_prediction import MetadataLabelPredictionTask, MetadataLabelPredictionTaskInput

    task = MetadataLabelPredictionTask(random_seed=seed)
    task_input = MetadataLabelPredictionTaskInput(
        labels=labels, n_folds=section.folds, min_class_size=section.min_class_size
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # `run` gives the means of these only; a test holds that they are the same.
        results = pd.DataFrame(task._run_task(x_nd, task_input).results)
    for name, times in Counter(warning.category.__name__ for warning in caught).items():
        logger.warning("%s was given %d times over all folds and classifiers", name, times)
    return results


def _interval(fold_scores: np.ndarray) -> Score:
    from scipy import stats

    mean, half = fold_scores.mean(), 0.0
    if len(fold_scores) > 1:
        half = stats.t.ppf(0.975, len(fold_scores) - 1) * stats.sem(fold_scores)
    return Score(float(mean), float(mean - half), float(mean + half), f"t over {len(fold_scores)} folds")

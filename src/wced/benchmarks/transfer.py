"""Transfer: what linear classifiers of cell types that learned from one dataset know of another, study to study."""

import numpy as np
import pandas as pd

from wced.benchmarks.job import Job
from wced.benchmarks.probe import METRICS as PROBE_METRICS
from wced.benchmarks.probe import missing_scores, predictions, scores, table
from wced.benchmarks.scores import CELL_TYPE, known
from wced.embedding.baselines import LEAKAGE, LEAKAGE_BATCH
from wced.errors import WcedError

TITLE = "Cell types by linear probes, from one dataset to another"
METRICS = PROBE_METRICS
OWN_SPACE = (LEAKAGE, LEAKAGE_BATCH)
"""What the embeddings of models say that are fitted to each dataset apart."""


def score(job: Job) -> pd.DataFrame:
    """Fit the probe's classifiers on all labelled cells of one dataset, and score them on those of another.

    Cells of types that the training dataset lacks cannot be predicted; they are not scored, and `split` counts them.
    Features of both are standardised by the training dataset. The classifiers know all of its types, those too that the
    other lacks.

    Parameters
    ----------
    job
        With `reference`, the same model's embedding of the dataset to train on. Both have
        `cell_type_ontology_term_id`; cells without one are left out.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES of the dataset that is tested on, with intervals as in the probe. Baselines that are
        fitted to each dataset apart have none: one dataset's first dimension is not the other's.

    Raises
    ------
    WcedError
        If the two embeddings are of different models or widths.
    """
    test, train = job.embedding.uns["wced"], job.reference.uns["wced"]
    for fact in ("model", "width"):
        if test[fact] != train[fact]:
            raise WcedError(
                f"transfer from {train['dataset']} to {test['dataset']}: their embeddings are of {fact} {train[fact]} "
                f"and {test[fact]}"
            )
    x_train_nd, true_train_n, _ = _labelled(job.reference)
    x_nd, true_n, unlabelled = _labelled(job.embedding)
    shared = np.isin(true_n, true_train_n)
    split = (
        f"trained on {len(true_train_n)} cells of {train['dataset']}; left out: {unlabelled} cells without a cell "
        f"type, {(~shared).sum()} cells of {len(np.unique(true_n[~shared]))} types that it lacks"
    )
    if test["leakage"] in OWN_SPACE:
        found = missing_scores(f"fitted to each dataset apart, so that it has no dimension of {train['dataset']}'s")
    elif not shared.any():
        found = missing_scores(f"no cell is of a type that {train['dataset']} has")
    else:
        predicted_n = predictions(x_train_nd, true_train_n, x_nd[shared], job.seed)
        found = scores(true_n[shared], predicted_n, job.seed)
    return table(job, found, split, int(shared.sum()), task="transfer")


def _labelled(embedding) -> tuple[np.ndarray, np.ndarray, int]:
    """Return values and cell types of the cells that have one, and the number of the others."""
    labelled = known(embedding.obs[CELL_TYPE])
    x_nd = np.asarray(embedding.X, dtype=np.float32)[labelled]
    return x_nd, embedding.obs[CELL_TYPE].astype(str).to_numpy(dtype=str)[labelled], int((~labelled).sum())

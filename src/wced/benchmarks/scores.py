"""What the tasks share: the truth they score by, and the rows of their table."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.stats import Score, missing
from wced.tables import SCORES, checked

CELL_TYPE = "cell_type_ontology_term_id"
"""The obs column that is the truth of all tasks."""

UNKNOWN = ("unknown", "", "nan")
"""What a missing label is called."""


def known(labels: pd.Series) -> np.ndarray:
    """Return for each cell whether it has a label; bool."""
    return ~labels.astype(str).isin(UNKNOWN).to_numpy()


def rows(
    embedding: AnnData,
    scores: Mapping[str, Score],
    *,
    run: str,
    task: str,
    protocol: str,
    split: str,
    n: int,
    seed: int,
    label: str = CELL_TYPE,
) -> pd.DataFrame:
    """Return one row of tables.SCORES for each score of an embedding.

    Parameters
    ----------
    embedding
        As `wced.embedding.files.read_embedding` gives it; its uns says which model it is of.
    scores
        Score of each metric. A value that is not finite becomes an empty one with that as the reason.
    run, task, protocol, split, seed
        See tables.SCORES.
    n
        Cells scored, but for scores that say their own.
    label
        The obs column that was the truth.
    """
    facts = embedding.uns["wced"]
    scores = {
        metric: score if score.reason or np.isfinite(score.value) else missing("the metric is not finite")
        for metric, score in scores.items()
    }
    return checked(
        pd.DataFrame(
            {
                "run": run,
                "task": task,
                "dataset": facts["dataset"],
                "protocol": protocol,
                "split": split,
                "label": label,
                "model": facts["model"],
                "metric": list(scores),
                "value": [float(score.value) for score in scores.values()],
                "ci_low": [float(score.ci_low) for score in scores.values()],
                "ci_high": [float(score.ci_high) for score in scores.values()],
                "ci_method": [score.ci_method for score in scores.values()],
                "n": [n if score.n is None else score.n for score in scores.values()],
                "n_params": facts["n_params"],
                "width": facts["width"],
                "seed": seed,
                "source": facts["source"],
                "leakage": facts["leakage"],
                "reason": [score.reason for score in scores.values()],
            }
        ),
        SCORES,
    )

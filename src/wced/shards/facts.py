"""What shards hold of a cell besides its counts: from rows of cells.parquet to codes and numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.shards.vocabulary import Labels, label_values, number_values

SPLITS = ("train", "validation")
"""Splits in the order of their codes."""


def fact_types(labels: Labels) -> dict[str, type]:
    """Return the columns with one value for each cell, counts aside, and their types, in the order of a shard."""
    return {
        "soma_joinid": np.int64,
        "split": np.int8,
        "dataset": np.int32,
        **dict.fromkeys(labels.columns, np.int32),
        **dict.fromkeys(labels.number_columns, np.float32),
        **({} if labels.perturbations is None else {"perturbed": np.int32}),
    }


def facts_of(cells: pd.DataFrame, labels: Labels, dataset_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns of `fact_types` for rows of cells.parquet.

    Raises
    ------
    WcedError
        If a column is missing.
    """
    perturbations = labels.perturbations
    wanted = [*labels.columns, *labels.number_columns, *([] if perturbations is None else [perturbations.column])]
    for name in wanted:
        if name not in cells:
            raise WcedError(f"cells.parquet has no column {name}, which labels.json names")
    facts = {
        "soma_joinid": cells["soma_joinid"].to_numpy(),
        "split": pd.Index(SPLITS).get_indexer(cells["split"]).astype(np.int8),
        "dataset": pd.Index(dataset_ids).get_indexer(cells["dataset_id"].astype(str)).astype(np.int32),
        **{name: labels.codes(name, label_values(cells, name)) for name in labels.columns},
        **{name: number_values(cells, name) for name in labels.number_columns},
    }
    if perturbations is not None:
        facts["perturbed"] = perturbations.codes(cells[perturbations.column])
    return facts

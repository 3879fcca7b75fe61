"""obs of the CELLxGENE schema from what a row of the table of datasets says about a file."""

from pathlib import Path

import numpy as np
import pandas as pd

from wced.corpus.datasets import Dataset
from wced.corpus.terms import ONTOLOGIES, UNKNOWN, current_terms, general_tissues, is_unknown
from wced.errors import WcedError
from wced.files import existing

PLAIN = ("tissue_type", "donor_id", "suspension_type", "batch")
"""Fields of obs without an ontology."""


def read_cell_type_names(path: str | Path) -> dict[str, str]:
    """Read the table from free names of cell types to Cell Ontology ids."""
    frame = pd.read_csv(existing(path, "the table of cell type names"), sep="\t", dtype=str, keep_default_na=False)
    for column in ("name", "cell_type_ontology_term_id"):
        if column not in frame.columns:
            raise WcedError(f"{path}: column {column} is missing")
    if frame["name"].duplicated().any():
        raise WcedError(f"{path}: {frame['name'][frame['name'].duplicated()].iloc[0]!r} stands there twice")
    return dict(zip(frame["name"], frame["cell_type_ontology_term_id"], strict=True))


def annotate(
    obs: pd.DataFrame, labels: pd.DataFrame | None, dataset: Dataset, cell_type_names: dict[str, str]
) -> pd.DataFrame:
    """Return obs in the columns of the CELLxGENE schema, one row per row of `obs` and in its order.

    Parameters
    ----------
    obs
        obs of the file.
    labels
        obs of the labels file, joined by cell name; cells that it lacks are unknown.
    dataset
        The row that says which column is what.
    cell_type_names
        Cell Ontology id of each free name; needed where `dataset.cell_type_kind` is `name`. Other names are unknown.

    Raises
    ------
    WcedError
        If a column is missing, a term is unknown to its ontology, or cell names are not unique.
    """
    if obs.index.duplicated().any():
        raise WcedError(
            f"dataset {dataset.dataset}: cell name {obs.index[obs.index.duplicated()][0]} stands there twice"
        )
    columns: dict[str, pd.Series | pd.DataFrame] = {}
    for field in ONTOLOGIES:
        values = _values(field, dataset, obs, labels)
        if field == "cell_type" and dataset.cell_type_kind == "name":
            values = values.map(cell_type_names).fillna(UNKNOWN)
        try:
            columns[field] = current_terms(values, field)
        except WcedError as error:
            raise WcedError(f"dataset {dataset.dataset}, {error}") from None
    frame = pd.concat(list(columns.values()), axis=1)
    frame = pd.concat([frame, general_tissues(frame["tissue_ontology_term_id"])], axis=1)
    for field in PLAIN:
        values = _values(field, dataset, obs, labels)
        frame[field] = values.mask(values.map(is_unknown).astype(bool), UNKNOWN)
    frame["is_primary_data"] = _truth(_values("is_primary_data", dataset, obs, labels), dataset)
    frame["observation_joinid"] = _joinids(obs, labels, dataset)
    frame["dataset_id"] = dataset.dataset
    return frame


def _values(field: str, dataset: Dataset, obs: pd.DataFrame, labels: pd.DataFrame | None) -> pd.Series:
    """Return a field's values as text, by the row's way of saying where they come from."""
    text = getattr(dataset, field)
    source, *renames = (dataset.dataset if text is None else text).split("|")
    place, dot, column = source.partition(".")
    if not dot or place not in ("obs", "labels"):
        return pd.Series(source, index=obs.index, dtype=object)
    frame = obs if place == "obs" else labels
    if frame is None or column not in frame.columns:
        raise WcedError(f"dataset {dataset.dataset}, {field}: the file has no column {source}")
    if place == "labels":
        if frame.index.duplicated().any():
            raise WcedError(f"dataset {dataset.dataset}, labels: cell {frame.index[frame.index.duplicated()][0]} twice")
        frame = frame.reindex(obs.index)
    values = frame[column].astype(object)
    values = values.where(values.notna(), UNKNOWN).astype(str)
    return values.replace(dict(rename.split("=", 1) for rename in renames))


def _truth(values: pd.Series, dataset: Dataset) -> pd.Series:
    truth = values.str.lower().map({"true": True, "false": False})
    if truth.isna().any():
        wrong = values[truth.isna()].iloc[0]
        raise WcedError(f"dataset {dataset.dataset}, is_primary_data: {wrong!r} is neither True nor False")
    return truth.astype(bool)


def _joinids(obs: pd.DataFrame, labels: pd.DataFrame | None, dataset: Dataset) -> pd.Series:
    if dataset.observation_joinid is not None:
        return _values("observation_joinid", dataset, obs, labels)
    names = dataset.dataset + "/" + pd.Series(obs.index, index=obs.index)
    return pd.Series(np.char.mod("%016x", pd.util.hash_pandas_object(names, index=False)), index=obs.index)

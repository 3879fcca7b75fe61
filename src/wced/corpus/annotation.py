"""obs in the CELLxGENE schema, from what a row of the table of datasets says about its files."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from wced import tables
from wced.contracts import UNKNOWN, is_unknown
from wced.corpus.conditions import truth
from wced.corpus.datasets import Dataset
from wced.corpus.terms import CLARIFIED, ONTOLOGIES, current_terms, general_tissues
from wced.errors import WcedError
from wced.ontology import load

PLAIN = ("tissue_type", "donor_id", "suspension_type", "batch")
"""Fields of obs without an ontology."""

FILE = "file"
"""Column of obs that names the file of each cell, where a dataset has several."""


def read_cell_type_names(path: str | Path) -> dict[str, str]:
    """Return the Cell Ontology ids of free names of cell types, from their table."""
    frame = tables.read_text(path, "a table of cell type names", ("name", "cell_type_ontology_term_id"))
    if frame["name"].duplicated().any():
        raise WcedError(f"{path}: the name {frame['name'][frame['name'].duplicated()].iloc[0]!r} is duplicated")
    return dict(zip(frame["name"], frame["cell_type_ontology_term_id"], strict=True))


def annotate(
    obs_of_files: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame | None,
    dataset: Dataset,
    cell_type_names: Mapping[str, str],
) -> tuple[pd.DataFrame, int, pd.DataFrame]:
    """Return obs in the columns of the CELLxGENE schema and of `extra_obs`; its rows are those of the files, in order.

    `dataset` says which column is what. Cells of several files are named `CELL-FILE`. Cells that `labels` lacks are
    unknown, and so are free names of cell types (`cell_type_kind` is `name`) that `cell_type_names` lacks; their number
    is returned second. The last are rows of `wced.tables.SOURCES_TERMS`: values that became another term, or unknown.
    Raises WcedError if a column is missing, a term is unknown to its ontology, or cell names are not unique.
    """
    name = f"dataset {dataset.dataset}"
    if dataset.cell_type_kind == "name" and not cell_type_names:
        raise WcedError(f"{name}, cell_type: free names need the table of cell type names")
    obs = _one_obs(obs_of_files, dataset)
    frames = {"obs": obs}
    if labels is not None:
        cells = pd.Series([cell for frame in obs_of_files.values() for cell in frame.index])
        frames["labels"] = _joined(labels, cells, obs, dataset)
    fields = (*ONTOLOGIES, *PLAIN, "is_primary_data")
    values = {field: _values(field, getattr(dataset, field), dataset, frames) for field in fields}
    replaced, unmapped = [], 0
    if dataset.cell_type_kind == "name":
        values["cell_type"], names = _ids_of_names(values["cell_type"], cell_type_names)
        replaced, unmapped = [names], len(names)
    columns = {}
    for field in ONTOLOGIES:
        try:
            columns[field], terms = current_terms(values[field], field)
        except WcedError as error:
            source, column, _ = _parsed(getattr(dataset, field))
            advice = f"give an id or a name of the ontology in column {field} of its row"
            if source is not None:
                advice = f"rename it in column {field} of its row, as {source}.{column}|FROM=TO"
                advice += " or, for free names, set cell_type_kind to name" if field == "cell_type" else ""
            raise WcedError(f"{name}, {error}; {advice}") from None
        replaced.append(terms)
    tissues = columns["tissue"]["tissue_ontology_term_id"]
    frame = pd.concat([*columns.values(), general_tissues(tissues)], axis=1)
    if dataset.tissue_type == UNKNOWN:
        # Older schemas clarify a tissue in brackets; newer ones have ids of cell lines.
        clarified = values["tissue"].str.extract(f"{CLARIFIED}$", expand=False).fillna(UNKNOWN)
        values["tissue_type"] = clarified.mask(tissues.str.startswith("CVCL_"), "cell line")
    for field in PLAIN:
        frame[field] = values[field]
    frame["is_primary_data"] = truth(values["is_primary_data"], f"{name}, is_primary_data", complete=True).astype(bool)
    if dataset.observation_joinid is not None:
        frame["observation_joinid"] = _values("observation_joinid", dataset.observation_joinid, dataset, frames)
    else:
        cells = pd.Series(f"{dataset.dataset}/" + obs.index)
        frame["observation_joinid"] = np.char.mod("%016x", pd.util.hash_pandas_object(cells, index=False))
    frame["dataset_id"] = dataset.dataset
    for column, value in dataset.extra.items():
        frame[column] = _values("extra_obs", value, dataset, frames)
    terms = tables.checked(pd.concat(replaced).assign(dataset=dataset.dataset), tables.SOURCES_TERMS)
    return frame, unmapped, terms


def _ids_of_names(values: pd.Series, ids: Mapping[str, str]) -> tuple[pd.Series, pd.DataFrame]:
    """Return the ids of free names, unknown where there is none, and the names that have none: most cells first."""
    counts, rows = values.value_counts(), []
    known = {name.lower(): f"{name} ({term})" for term, name in load().labels.items()}
    known |= {name.lower(): f"{name} ({term})" for name, term in ids.items()}
    for name, cells in counts.items():
        if name not in ids and not is_unknown(name):
            # The search is slow, so it is made for the names of most cells.
            similar = get_close_matches(name.lower(), known, n=3) if len(rows) < 100 else []
            advice = "; alike are " + ", ".join(known[name] for name in similar) if similar else ""
            rows.append(("cell_type", name, cells, UNKNOWN, UNKNOWN, f"not in the table of cell type names{advice}"))
    unmapped = pd.DataFrame(rows, columns=tables.SOURCES_TERMS.names[1:]).astype({"cells": int})
    id_of = {name: ids.get(name, name) for name in counts.index} | dict.fromkeys(unmapped["value"], UNKNOWN)
    return values.map(id_of), unmapped


def _one_obs(obs_of_files: Mapping[str, pd.DataFrame], dataset: Dataset) -> pd.DataFrame:
    """Return the rows of all files, with names that no two cells have."""
    several = len(obs_of_files) > 1
    for name, obs in obs_of_files.items():
        duplicated = obs.index.duplicated()
        if duplicated.any():
            raise WcedError(
                f"dataset {dataset.dataset}{f', file {name}' if several else ''}: the cell name "
                f"{obs.index[duplicated][0]} is duplicated ({duplicated.sum()} names are); make them unique, e.g. with "
                "adata.obs_names_make_unique()"
            )
    if not several:
        return next(iter(obs_of_files.values()))
    frames = [
        obs.drop(columns=FILE, errors="ignore").assign(**{FILE: name}).set_axis(obs.index + f"-{name}")
        for name, obs in obs_of_files.items()
    ]
    return pd.concat(frames)


def _joined(labels: pd.DataFrame, cells: pd.Series, obs: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return a row of labels for every row of obs, empty where there is none."""
    advice = "see labels_barcode and labels_file of its row"
    keys = []
    for names in (cells, labels.index.to_series()):
        if dataset.labels_barcode is not None:
            names = names.astype(str).str.extract(f"({dataset.labels_barcode})", expand=True)[0].fillna("")
        keys.append([names.to_numpy(dtype=object)])
    if dataset.labels_file is not None:
        files = obs[FILE] if FILE in obs else pd.Series(next(iter(dataset.file.files())), index=obs.index)
        keys[0].append(files.to_numpy(dtype=object))
        keys[1].append(_values("labels_file", dataset.labels_file, dataset, {"labels": labels}).to_numpy(object))
    of_counts, of_labels = (pd.MultiIndex.from_arrays(key) for key in keys)
    for index, what in ((of_labels, "labels"), (of_counts, "counts")):
        duplicated = index.duplicated() & (index.get_level_values(0) != "")
        if duplicated.any():
            cell = index[duplicated][0][0]
            raise WcedError(f"dataset {dataset.dataset}, labels: cell {cell} of the {what} is duplicated; {advice}")
    row_n = of_labels.get_indexer(of_counts)
    row_n[of_counts.get_level_values(0) == ""] = -1
    if (row_n < 0).all():
        raise WcedError(
            f"dataset {dataset.dataset}, labels: none of the cells has one; a cell is named {cells.iloc[0]} by the "
            f"counts and {labels.index[0] if len(labels) else 'nothing'} by the labels; {advice}"
        )
    return labels.reset_index(drop=True).reindex(row_n).set_axis(obs.index)


def _parsed(value: str) -> tuple[str | None, str, dict[str, str]]:
    """Return the frame (`obs` or `labels`; None for a constant), column (or constant) and renames of a row's value."""
    source, *renames = re.split(r"(?<!\|)\|(?!\|)", value)  # `||` stands between terms of one cell
    frame, dot, column = source.partition(".")
    if dot and frame in ("obs", "labels"):
        return frame, column, dict(rename.split("=", 1) for rename in renames)
    return None, source, {}


def _values(field: str, value: str | None, dataset: Dataset, frames: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Return a field's values as text, from where the row says; the dataset's name if it says nothing.

    Missing values, and words for unknown of `PLAIN` fields, are unknown. Missing values of fields with an ontology are
    empty instead, so that they are counted. Numbers of `extra_obs` stay numbers, and missing ones are NaN.
    """
    name, column, renames = _parsed(dataset.dataset if value is None else value)
    if name is None:
        return pd.Series(column, index=frames["obs"].index, dtype=object)
    frame = frames[name]
    if column not in frame.columns:
        raise WcedError(
            f"dataset {dataset.dataset}, {field}: there is no column {name}.{column}{_alike(column, frame)}"
        )
    dtype = frame[column].dtype
    is_number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
    if field == "extra_obs" and is_number and not renames:
        return frame[column] if isinstance(dtype, np.dtype) else frame[column].astype(float)
    codes, values = pd.factorize(frame[column])
    texts = [renames.get(str(value), str(value)) for value in values]
    # The last one is for missing values, whose code is -1.
    texts.append(renames.get(UNKNOWN, "" if field in ONTOLOGIES else UNKNOWN))
    texts = [UNKNOWN if field in PLAIN and is_unknown(text) else text for text in texts]
    return pd.Series(np.array(texts, object)[codes], index=frame.index)


def _alike(column: str, frame: pd.DataFrame) -> str:
    """Return the end of a sentence: which columns look like a missing one, or which there are."""
    names = {str(name).lower(): str(name) for name in frame.columns}
    alike = [names[name] for name in get_close_matches(column.lower(), names, n=3)]
    # Words in common count too: cell_ontology_class is meant by cell_type more often than it is spelt like it.
    words = {word for word in column.lower().split("_") if len(word) > 3}
    alike += [name for low, name in names.items() if words & set(low.split("_")) and name not in alike]
    if alike:
        return f"; alike are {', '.join(alike[:5])}"
    return f"; its columns are {', '.join(names.values()) or 'none'}"

"""obs of the CELLxGENE schema from what a row of the table of datasets says about its files."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from wced import tables
from wced.corpus.conditions import truth
from wced.corpus.datasets import Dataset
from wced.corpus.terms import CLARIFIED, ONTOLOGIES, UNKNOWN, current_terms, general_tissues, is_unknown
from wced.errors import WcedError
from wced.ontology import load

PLAIN = ("tissue_type", "donor_id", "suspension_type", "batch")
"""Fields of obs without an ontology."""

FILE = "file"
"""Column of obs that names the file of each cell, where a dataset has several."""


SUGGESTED = 100
"""Free names of cell types, those of most cells, for which names that look like them are searched."""


def read_cell_type_names(path: str | Path) -> dict[str, str]:
    """Read the table from free names of cell types to Cell Ontology ids."""
    frame = tables.read_text(path, "a table of cell type names", ("name", "cell_type_ontology_term_id"))
    if frame["name"].duplicated().any():
        raise WcedError(f"{path}: {frame['name'][frame['name'].duplicated()].iloc[0]!r} stands there twice")
    return dict(zip(frame["name"], frame["cell_type_ontology_term_id"], strict=True))


def annotate(
    obs_of_files: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame | None,
    dataset: Dataset,
    cell_type_names: Mapping[str, str],
) -> tuple[pd.DataFrame, dict[str, int], pd.DataFrame]:
    """Return obs in the columns of the CELLxGENE schema, one row per row of the files and in their order.

    Parameters
    ----------
    obs_of_files
        obs of each file by the file's name. Where there are several, cells are named `CELL-FILE`.
    labels
        Table of labels, joined by the row's rules; cells that it lacks are unknown.
    dataset
        The row that says which column is what.
    cell_type_names
        Cell Ontology id of each free name; needed where `dataset.cell_type_kind` is `name`. Other names are unknown.

    Returns
    -------
    pandas.DataFrame
        The columns, and those of `extra_obs`, indexed by unique cell names.
    dict
        `cell_type_names_unmapped`: how many different names of cell types have no id.
    pandas.DataFrame
        Rows of `wced.tables.SOURCES_TERMS`: values that became another term than they say, or unknown.

    Raises
    ------
    WcedError
        If a column is missing, a term is unknown to its ontology, or cell names are not unique.
    """
    if dataset.cell_type_kind == "name" and not cell_type_names:
        raise WcedError(f"dataset {dataset.dataset}, cell_type: free names need the table of cell type names")
    obs = _one_obs(obs_of_files, dataset)
    if labels is not None:
        cells = [name for frame in obs_of_files.values() for name in frame.index]
        labels = _joined(labels, pd.Series(cells), obs, dataset)
    columns, replaced, unmapped = [], [], pd.DataFrame()
    values = {field: _values(field, dataset, obs, labels) for field in (*ONTOLOGIES, *PLAIN)}
    if dataset.cell_type_kind == "name":
        values["cell_type"], unmapped = _named(values["cell_type"], cell_type_names)
    for field in ONTOLOGIES:
        try:
            of_field, other = current_terms(values[field], field)
        except WcedError as error:
            raise WcedError(f"dataset {dataset.dataset}, {error}; {_remedy(field, dataset)}") from None
        columns.append(of_field)
        replaced.append(other)
    frame = pd.concat(columns, axis=1)
    frame = pd.concat([frame, general_tissues(frame["tissue_ontology_term_id"])], axis=1)
    if dataset.tissue_type == UNKNOWN:
        values["tissue_type"] = _tissue_type(values["tissue"], frame["tissue_ontology_term_id"])
    for field in PLAIN:
        frame[field] = values[field]
    primary = _values("is_primary_data", dataset, obs, labels)
    where = f"dataset {dataset.dataset}, is_primary_data"
    frame["is_primary_data"] = truth(primary, where, complete=True).astype(bool)
    frame["observation_joinid"] = _joinids(obs, labels, dataset)
    frame["dataset_id"] = dataset.dataset
    for name, text in dataset.extra.items():
        frame[name] = _extra(text, dataset, obs, labels)
    listed = pd.concat([unmapped, *replaced]).assign(dataset=dataset.dataset)
    return frame, {"cell_type_names_unmapped": len(unmapped)}, tables.checked(listed, tables.SOURCES_TERMS)


def _named(values: pd.Series, cell_type_names: Mapping[str, str]) -> tuple[pd.Series, pd.DataFrame]:
    """Return the ids of free names, unknown where there is none, and the names that have none: most cells first."""
    cells = values.value_counts()
    ids = {name: name for name in cells.index} | dict(cell_type_names)
    cells = cells[[name not in cell_type_names and not is_unknown(name) for name in cells.index]]
    known = {name.lower(): f"{name} ({term})" for term, name in load().labels.items()}
    known |= {name.lower(): f"{name} ({term})" for name, term in cell_type_names.items()}
    rows = []
    for name, number in cells.items():
        near = difflib.get_close_matches(name.lower(), known, n=3) if len(rows) < SUGGESTED else []
        alike = "; alike are " + ", ".join(known[name] for name in near) if near else ""
        note = f"not in the table of cell type names{alike}"
        rows.append({"column": "cell_type", "value": name, "cells": number, "note": note})
    unmapped = pd.DataFrame(rows, columns=["column", "value", "cells", "note"]).assign(term=UNKNOWN, label=UNKNOWN)
    return values.map(ids | dict.fromkeys(cells.index, UNKNOWN)), unmapped


def _tissue_type(said: pd.Series, term: pd.Series) -> pd.Series:
    """Return what clarifications and Cellosaurus ids of older and newer schemas say of the type of a tissue."""
    of_cells = said.str.extract(f"{CLARIFIED}$", expand=False).fillna(UNKNOWN)
    return of_cells.mask(term.str.startswith("CVCL_"), "cell line")


def _remedy(field: str, dataset: Dataset) -> str:
    source = _parts(getattr(dataset, field))[0]
    if "." not in source:
        return f"give an id or a name of the ontology in column {field} of its row"
    names = " or, for free names, set cell_type_kind to name" if field == "cell_type" else ""
    return f"rename it in column {field} of its row, as {source}|FROM=TO{names}"


def _one_obs(obs_of_files: Mapping[str, pd.DataFrame], dataset: Dataset) -> pd.DataFrame:
    for name, obs in obs_of_files.items():
        twice = obs.index.duplicated()
        if twice.any():
            where = f", file {name}" if len(obs_of_files) > 1 else ""
            raise WcedError(
                f"dataset {dataset.dataset}{where}: cell name {obs.index[twice][0]} stands there twice "
                f"({twice.sum()} names do); make them unique, e.g. with adata.obs_names_make_unique()"
            )
    if len(obs_of_files) == 1:
        return next(iter(obs_of_files.values()))
    frames = [
        obs.drop(columns=FILE, errors="ignore").assign(**{FILE: name}).set_axis(obs.index + f"-{name}")
        for name, obs in obs_of_files.items()
    ]
    return pd.concat(frames)


def _joined(labels: pd.DataFrame, cells: pd.Series, obs: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return a row of labels for every row of obs, empty where there is none."""
    name = f"dataset {dataset.dataset}, labels"
    keys = []
    for names in (cells, labels.index.to_series()):
        if dataset.labels_barcode is not None:
            names = names.astype(str).str.extract(f"({dataset.labels_barcode})", expand=True)[0].fillna("")
        keys.append([names.to_numpy(dtype=object)])
    if dataset.labels_file is not None:
        files = obs[FILE] if FILE in obs else pd.Series(next(iter(dataset.file.files())), index=obs.index)
        keys[0].append(files.to_numpy(dtype=object))
        keys[1].append(_column("labels_file", dataset.labels_file, dataset, labels).to_numpy(dtype=object))
    wanted, there = (pd.MultiIndex.from_arrays(key) for key in keys)
    for index, what in ((there, "of the labels"), (wanted, "of the counts")):
        twice = index.duplicated() & (index.get_level_values(0) != "")
        if twice.any():
            raise WcedError(f"{name}: cell {index[twice][0][0]} {what} stands there twice; "
                            "see labels_barcode and labels_file of its row")  # fmt: skip
    places = there.get_indexer(wanted)
    places[wanted.get_level_values(0) == ""] = -1
    if (places < 0).all():
        raise WcedError(
            f"{name}: none of the cells has one; a cell is named {cells.iloc[0]} by the counts and "
            f"{labels.index[0] if len(labels) else 'nothing'} by the labels; see labels_barcode and labels_file of its "
            "row"
        )
    return labels.reset_index(drop=True).reindex(places).set_axis(obs.index)


def _values(field: str, dataset: Dataset, obs: pd.DataFrame, labels: pd.DataFrame | None) -> pd.Series:
    """Return a field's values as text, by the row's way of saying where they come from."""
    text = getattr(dataset, field)
    text = dataset.dataset if text is None else text
    source = _parts(text)[0]
    place = source.partition(".")[0]
    if place not in ("obs", "labels") or "." not in source:
        return pd.Series(source, index=obs.index, dtype=object)
    return _column(field, text, dataset, obs if place == "obs" else labels)


def _parts(text: str) -> list[str]:
    """Return the source and the renames of a row's value; `||` stands between terms of one cell."""
    return re.split(r"(?<!\|)\|(?!\|)", text)


def _extra(text: str, dataset: Dataset, obs: pd.DataFrame, labels: pd.DataFrame | None) -> pd.Series:
    """Return a column that no schema knows: numbers as they are (missing is NaN), all else as text."""
    source, *renames = _parts(text)
    place, _, column = source.partition(".")
    frame = obs if place == "obs" else labels
    dtype = frame[column].dtype if column in frame and not renames else None
    if dtype is not None and pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype):
        return frame[column] if isinstance(dtype, np.dtype) else frame[column].astype(float)
    return _column("extra_obs", text, dataset, frame)


def _column(field: str, text: str, dataset: Dataset, frame: pd.DataFrame) -> pd.Series:
    """Return a column as text, renamed as `text` says. Missing values are unknown.

    So are words for unknown, of fields without an ontology that the schema knows. Of fields with an ontology, missing
    values are empty instead, so that they are counted.
    """
    source, *renames = _parts(text)
    column = source.partition(".")[2]
    if column not in frame.columns:
        raise WcedError(f"dataset {dataset.dataset}, {field}: there is no column {source}{_alike(column, frame)}")
    renamed = dict(rename.split("=", 1) for rename in renames)
    codes, values = pd.factorize(frame[column])
    texts = [renamed.get(str(value), str(value)) for value in values]
    # The last one is for missing values, whose code is -1.
    texts.append(renamed.get(UNKNOWN, "" if field in ONTOLOGIES else UNKNOWN))
    texts = [UNKNOWN if field in PLAIN and is_unknown(text) else text for text in texts]
    return pd.Series(np.array(texts, object)[codes], index=frame.index)


def _alike(column: str, frame: pd.DataFrame) -> str:
    """Return the end of a sentence: which columns look like a missing one, or which there are."""
    names = {str(name).lower(): str(name) for name in frame.columns}
    alike = [names[name] for name in difflib.get_close_matches(column.lower(), names, n=3)]
    # Words in common count too: cell_ontology_class is meant by cell_type more often than it is spelt like it.
    words = {word for word in column.lower().split("_") if len(word) > 3}
    alike += [name for low, name in names.items() if words & set(low.split("_")) and name not in alike]
    if alike:
        return f"; alike are {', '.join(alike[:5])}"
    return f"; its columns are {', '.join(names.values()) or 'none'}"


def _joinids(obs: pd.DataFrame, labels: pd.DataFrame | None, dataset: Dataset) -> pd.Series:
    if dataset.observation_joinid is not None:
        return _values("observation_joinid", dataset, obs, labels)
    names = dataset.dataset + "/" + pd.Series(obs.index, index=obs.index)
    return pd.Series(np.char.mod("%016x", pd.util.hash_pandas_object(names, index=False)), index=obs.index)

"""Selecting the cells of a run from obs alone: quality rules, sampling, split, and the tables of what each did."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tiledbsoma as soma

from wced import tables
from wced.config import corpus as config
from wced.contracts import CELL_TYPE, UNKNOWN
from wced.corpus import FORMAT_VERSION, quality, sampling
from wced.corpus.conditions import truth
from wced.corpus.obs import obs_of, read_obs
from wced.corpus.remote import retried
from wced.corpus.split import UNITS, coded, crosstab, exceptions, split_cells
from wced.errors import WcedError
from wced.files import whole_file

COLUMNS = (
    "soma_joinid",
    "dataset_id",
    *("cell_type_ontology_term_id", "cell_type", "tissue_ontology_term_id", "tissue_general_ontology_term_id"),
    *("tissue_general", "tissue", "donor_id", "assay_ontology_term_id", "disease_ontology_term_id"),
    *("sex_ontology_term_id", "raw_sum", "nnz"),
)
"""Columns of obs that cells.parquet always keeps, besides further ones and `split`."""

REMOVED = (*quality.RULES, "not_sampled")
"""Why a cell is not used: it counts for the first rule that removes it."""

FATES = (*REMOVED, "train", "validation")
"""What can become of a cell, in the order of the codes."""

_NOT_SAMPLED, _TRAIN, _VALIDATION = (FATES.index(name) for name in ("not_sampled", "train", "validation"))


@dataclass(frozen=True)
class Selection:
    """What became of every cell, and the tables that say why."""

    fate: np.ndarray
    """int8, (cells,): code of `FATES`."""
    split_by: np.ndarray
    """int8, (cells,): code of `wced.corpus.split.UNITS`, -1 where the cell is not used."""
    tables: dict[str, pd.DataFrame]
    """The tables `qc`, `qc_histograms`, `sampling`, `split` and `split_exceptions`."""


def needed_columns(section: config.Cells, keep: Sequence[str] = ()) -> list[str]:
    """Return the columns of obs that a selection needs, and those to keep."""
    needed = [*COLUMNS, *keep, *quality.needed_columns(section.filter), *sampling.needed_columns(section.sampling)]
    return list(dict.fromkeys(needed))


def read_cells_of(
    census: soma.Collection, section: config.Census, cells: config.Cells, keep: Sequence[str] = ()
) -> pd.DataFrame:
    """Read from obs what a selection needs, and the further columns `keep`; as `wced.corpus.obs.read_obs`.

    Raises WcedError also if a rule needs the mitochondrial fraction and the collection lacks it.
    """
    columns = needed_columns(cells, keep)
    if "mt_fraction" in columns and "mt_fraction" not in obs_of(census, section).schema.names:
        keys = "cells.filter.max_mt_fraction and cells.filter.mads.mt_fraction"
        raise WcedError(f"the collection's obs has no column mt_fraction; set {keys} to null")
    obs = read_obs(census, section, columns)
    if obs["is_primary_data"].dtype != bool:
        primary = truth(obs["is_primary_data"], "the collection's obs, is_primary_data", complete=True)
        obs["is_primary_data"] = primary.astype(bool)
    return obs


def select(
    obs: pd.DataFrame, section: config.Cells, seed: int, done: Callable[[str], None] = lambda step: None
) -> Selection:
    """Decide what becomes of every cell.

    `obs` are cells, ascending soma_joinid, with the columns of `needed_columns`; text is categorical. `done` is called
    with the name of each step (`quality`, `sampling`, `split`) after it. Raises WcedError if no cell is left.
    """
    first, qc = quality.judge(obs, section.filter)
    passed = first == quality.PASSED
    histograms = quality.histograms(obs, passed)
    done("quality")
    # A code of a rule is that of its fate; the good cells get theirs now.
    fate = np.where(passed, np.int8(_NOT_SAMPLED), first)
    chosen, manifest = sampling.sample(obs, np.flatnonzero(passed), section.sampling, seed)
    if len(chosen) == 0:
        by = "steps of cells.sampling" if passed.any() else "rules of cells.filter"
        raise WcedError(f"no cell is left of {len(obs)}; the {by} remove them all")
    done("sampling")
    needed = ["soma_joinid", "dataset_id", "donor_id", "cell_type_ontology_term_id"]
    cells = pd.DataFrame({name: obs[name].array[chosen] for name in needed}, copy=False)
    divided = split_cells(cells, section.split, seed)
    fate[chosen] = np.where(divided.validation, _VALIDATION, _TRAIN)
    split_by = np.full(len(obs), -1, np.int8)
    split_by[chosen] = divided.split_by
    listed = exceptions(cells, divided, _names(obs[CELL_TYPE], obs["cell_type"]))
    done("split")
    of_steps = {"qc": qc, "qc_histograms": histograms, "sampling": manifest, "split": divided.choices}
    return Selection(fate, split_by, {**of_steps, "split_exceptions": listed})


def summarise(obs: pd.DataFrame, selection: Selection, titles: Mapping[str, str]) -> pd.DataFrame:
    """Return rows of `wced.tables.CORPUS`: cells by dataset (named by `titles`), by general tissue and by cell type.

    Within a row, what was removed, train and validation add up to `cells_in`.
    """
    cell_type, terms = coded(obs[CELL_TYPE])
    trained_c = np.bincount(cell_type[selection.fate == _TRAIN], minlength=len(terms)) > 0
    trained_c &= terms != UNKNOWN
    lost = (selection.fate == _VALIDATION) & ~trained_c[cell_type]
    used = selection.split_by >= 0
    levels = []
    for level, key, name in (
        ("dataset", "dataset_id", None),
        ("tissue", "tissue_general_ontology_term_id", "tissue_general"),
        ("cell_type", "cell_type_ontology_term_id", "cell_type"),
    ):
        code, values = coded(obs[key])
        names = titles if name is None else _names(obs[key], obs[name])
        fates = crosstab(code, selection.fate, len(values), len(FATES))
        units = crosstab(code[used], selection.split_by[used], len(values), len(UNITS)) > 0
        only = np.array(UNITS, object)[units.argmax(axis=1)]
        table = pd.DataFrame(fates, columns=list(FATES)).assign(
            level=level,
            dataset=values if level == "dataset" else "all",
            term=values,
            name=[names.get(value, value) for value in values],
            cells_in=fates.sum(axis=1),
            split_by=np.select([units.sum(axis=1) == 0, units.sum(axis=1) > 1], ["none", "mixed"], only),
            unknown_in_validation=np.bincount(code[lost], minlength=len(values)),
        )
        levels.append(table.iloc[pd.unique(code)] if level == "dataset" else table)
    return tables.checked(pd.concat(levels, ignore_index=True), tables.CORPUS)


def _names(term: pd.Series, name: pd.Series) -> dict[str, str]:
    """Return the name of each term, that of its first cell."""
    (code, terms), (name_code, names) = coded(term), coded(name)
    first = np.zeros(len(terms), name_code.dtype)
    first[code[::-1]] = name_code[::-1]
    return dict(zip(terms, names[first], strict=True))


def select_cells(
    census: soma.Collection,
    census_section: config.Census,
    section: config.Cells,
    seed: int,
    cells_path: str | Path,
    table_path: str | Path,
    done: Callable[[str], None] = lambda step: None,
    keep: Sequence[str] = (),
) -> None:
    """Select cells of an open collection; write cells.parquet, the corpus table, and the other tables beside it.

    `done` is called with the name of each step (`read`, `quality`, `sampling`, `split`, `write`) after it. `keep` names
    further columns of obs that cells.parquet gets.
    """
    obs = read_cells_of(census, census_section, section, keep)
    done("read")
    selection = select(obs, section, seed, done)
    datasets = census["census_info"]["datasets"]
    infos = retried(
        census_section,
        "census_info/datasets",
        lambda: datasets.read(column_names=["dataset_id", "dataset_title"]).concat().to_pandas(),
    )
    titles = dict(zip(infos["dataset_id"].astype(str), infos["dataset_title"].astype(str), strict=True))
    for name, frame in selection.tables.items():
        tables.write(frame, tables.TABLES[name], Path(table_path).with_name(f"{name}.tsv"))
    tables.write(summarise(obs, selection, titles), tables.CORPUS, table_path)
    write_cells(obs, selection, cells_path, keep)
    done("write")


def write_cells(obs: pd.DataFrame, selection: Selection, path: str | Path, keep: Sequence[str] = ()) -> None:
    """Write the used cells as cells.parquet, with this room's format version and the further columns `keep`."""
    used = np.flatnonzero(selection.fate >= _TRAIN)
    names = dict.fromkeys([*COLUMNS, *keep])
    frame = pd.DataFrame({name: obs[name].array[used] for name in names}, copy=False)
    frame["split"] = pd.Categorical.from_codes(selection.fate[used] - _TRAIN, ["train", "validation"])
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, b"wced_format_version": str(FORMAT_VERSION)})
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_cells(
    path: str | Path, first: int = 0, last: int | None = None, columns: list[str] | None = None
) -> pd.DataFrame:
    """Return cells.parquet, or its rows from `first` to `last` (exclusive); text columns are categorical.

    Raises WcedError if it has another format version.

    >>> read_cells("results/demo/corpus/cells.parquet", last=100, columns=["dataset_id", "split"])  # doctest: +SKIP
    """
    file = tables.open_parquet(path, "cells.parquet")
    version = (file.schema_arrow.metadata or {}).get(b"wced_format_version", b"none").decode()
    if version != str(FORMAT_VERSION):
        raise WcedError(f"{path}: format version {version}, but this wced reads {FORMAT_VERSION}")
    last = file.metadata.num_rows if last is None else last
    bounds = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
    groups = np.flatnonzero((bounds[:-1] < last) & (bounds[1:] > first))
    table = file.read_row_groups(groups.tolist(), columns=columns)
    return table.slice(first - bounds[groups[0]] if len(groups) else 0, last - first).to_pandas()

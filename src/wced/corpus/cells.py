"""Selecting the cells of a run from obs alone: quality rules, downsampling, split, and what each step removed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tiledbsoma as soma

from wced import tables
from wced.config import corpus as config
from wced.corpus import FORMAT_VERSION
from wced.corpus.split import split_cells
from wced.corpus.terms import UNKNOWN
from wced.errors import WcedError
from wced.files import existing, whole_file

COLUMNS = (
    "soma_joinid",
    "dataset_id",
    *("cell_type_ontology_term_id", "cell_type", "tissue_ontology_term_id", "tissue_general_ontology_term_id"),
    *("tissue_general", "tissue", "donor_id", "assay_ontology_term_id", "raw_sum", "nnz"),
)
"""Columns of obs that cells.parquet keeps; `split` is added."""

REMOVED = ("not_primary", "low_counts", "low_genes", "high_mt", "not_sampled")
"""Why a cell is not used, in the order in which the rules are applied: a cell counts for the first that removes it."""


def read_obs(census: soma.Collection, section: config.Census, max_mt_fraction: float | None = None) -> pd.DataFrame:
    """Read the columns of obs that selection needs, sorted by soma_joinid; text columns are categorical.

    Raises
    ------
    WcedError
        If obs lacks a column (`mt_fraction` only matters where `max_mt_fraction` is given), or the value filter is
        wrong or matches no cell.
    """
    obs = census["census_data"][section.organism].obs
    columns = [*COLUMNS, "is_primary_data", *([] if max_mt_fraction is None else ["mt_fraction"])]
    for name in columns:
        if name not in obs.schema.names:
            hint = "; set cells.filter.max_mt_fraction to null" if name == "mt_fraction" else ""
            raise WcedError(f"the collection's obs has no column {name}{hint}")
    try:
        batches = list(obs.read(column_names=columns, value_filter=section.obs_value_filter))
    except (soma.SOMAError, ValueError, SyntaxError, KeyError) as failure:
        raise WcedError(f"census.obs_value_filter {section.obs_value_filter!r} fails: {failure}") from None
    frame = pa.concat_tables(batches).unify_dictionaries().to_pandas()
    if frame.empty:
        raise WcedError(f"no cell of the collection matches {section.obs_value_filter!r}")
    text = frame.select_dtypes("object").columns
    return frame.astype(dict.fromkeys(text, "category")).sort_values("soma_joinid", ignore_index=True)


def select(obs: pd.DataFrame, section: config.Cells, seed: int) -> pd.DataFrame:
    """Say what becomes of every cell.

    Parameters
    ----------
    obs
        What `read_obs` returns.
    section
        Rules, downsampling and split.
    seed
        Seed of all that is drawn. Whether a cell is drawn depends on the seed and its soma_joinid (and on which others
        compete), so a smaller fraction or cap takes a subset of the cells of a larger one.

    Returns
    -------
    pandas.DataFrame
        `obs` with the columns `fate` (one of `REMOVED`, `train` or `validation`) and `split_by` (empty if removed).

    Raises
    ------
    WcedError
        If no cell is left for training.
    """
    rules = section.filter
    removed = {
        "not_primary": ~obs["is_primary_data"].to_numpy(bool) & rules.primary_only,
        "low_counts": (obs["raw_sum"] < rules.min_counts).to_numpy(),
        "low_genes": (obs["nnz"] < rules.min_genes).to_numpy(),
    }
    if rules.max_mt_fraction is not None:
        # Where no mitochondrial gene was measured the fraction is NaN, and the rule has nothing to say.
        removed["high_mt"] = (obs["mt_fraction"] > rules.max_mt_fraction).to_numpy()
    fate = np.full(len(obs), "", dtype=object)
    for reason, mask in removed.items():
        fate[mask & (fate == "")] = reason
    good = np.flatnonzero(fate == "")
    sampled = good[_sampled(obs.iloc[good], section.downsample, seed)]
    fate[np.setdiff1d(good, sampled)] = "not_sampled"
    if len(sampled) == 0:
        raise WcedError(f"no cell is left of {len(obs)}; the rules of cells.filter remove them all")
    divided = split_cells(obs.iloc[sampled], section.split, seed)
    fate[sampled] = np.where(divided["validation"], "validation", "train")
    split_by = np.full(len(obs), "", dtype=object)
    split_by[sampled] = divided["split_by"]
    return obs.assign(fate=fate, split_by=split_by)


def _sampled(obs: pd.DataFrame, section: config.Downsample, seed: int) -> np.ndarray:
    """Return the places of the cells that downsampling keeps, ascending."""
    joinids = obs["soma_joinid"].to_numpy()
    if len(joinids) == 0:
        return joinids
    # One number for every soma_joinid that there may be: it depends neither on the rules nor on the order of reading.
    draw = np.random.default_rng([seed, 1]).random(joinids.max() + 1)[joinids]
    kept = np.argsort(draw, kind="stable")[: max(1, round(section.fraction * len(obs)))]
    if section.max_cells_per_dataset is not None:
        rank = obs["dataset_id"].astype(str).iloc[kept].groupby(obs["dataset_id"].astype(str).iloc[kept]).cumcount()
        kept = kept[rank.to_numpy() < section.max_cells_per_dataset]
    return np.sort(kept)


def summarise(selected: pd.DataFrame, titles: dict[str, str]) -> pd.DataFrame:
    """Count cells by dataset, by general tissue and by cell type.

    Parameters
    ----------
    selected
        What `select` returns.
    titles
        Readable name of each dataset.

    Returns
    -------
    pandas.DataFrame
        Rows of `wced.tables.CORPUS`: within a row, what was removed, train and validation add up to `cells_in`.
    """
    cell_type = selected["cell_type_ontology_term_id"].astype(str)
    trained = set(cell_type[selected["fate"] == "train"]) - {UNKNOWN}
    lost = (selected["fate"] == "validation") & ~cell_type.isin(trained)
    dataset = selected["dataset_id"].astype(str)
    groups = {
        "dataset": (dataset, dataset.map(titles).fillna(dataset)),
        "tissue": (selected["tissue_general_ontology_term_id"].astype(str), selected["tissue_general"].astype(str)),
        "cell_type": (cell_type, selected["cell_type"].astype(str)),
    }
    levels = []
    for level, (term, name) in groups.items():
        fates = pd.crosstab(term, selected["fate"]).reindex(columns=[*REMOVED, "train", "validation"], fill_value=0)
        used = selected["split_by"] != ""
        units = selected["split_by"][used].groupby(term[used])
        split_by = units.min().where(units.min() == units.max(), "mixed")
        table = fates.assign(
            level=level,
            dataset=fates.index if level == "dataset" else "all",
            term=fates.index,
            name=name.groupby(term).first(),
            cells_in=fates.sum(axis=1),
            split_by=split_by.reindex(fates.index).fillna("none"),
            unknown_in_validation=lost.groupby(term).sum(),
        )
        order = fates.index if level != "dataset" else pd.unique(dataset)
        levels.append(table.loc[order])
    return tables.checked(pd.concat(levels, ignore_index=True), tables.CORPUS)


def select_cells(
    census: soma.Collection,
    census_section: config.Census,
    section: config.Cells,
    seed: int,
    cells_path: str | Path,
    table_path: str | Path,
) -> None:
    """Select cells of an open collection; write cells.parquet and the corpus table."""
    selected = select(read_obs(census, census_section, section.filter.max_mt_fraction), section, seed)
    infos = census["census_info"]["datasets"].read(column_names=["dataset_id", "dataset_title"]).concat().to_pandas()
    titles = dict(zip(infos["dataset_id"].astype(str), infos["dataset_title"].astype(str), strict=True))
    tables.write(summarise(selected, titles), tables.CORPUS, table_path)
    write_cells(selected, cells_path)


def write_cells(selected: pd.DataFrame, path: str | Path) -> None:
    """Write the used cells of what `select` returns as cells.parquet, with this room's format version."""
    used = selected[selected["fate"].isin(["train", "validation"])]
    frame = used[list(COLUMNS)].assign(split=used["fate"].astype("category"))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, b"wced_format_version": str(FORMAT_VERSION)})
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_cells(path: str | Path) -> pd.DataFrame:
    """Read cells.parquet; text columns are categorical.

    Raises
    ------
    WcedError
        If it has another format version.
    """
    table = pq.read_table(existing(path, "cells.parquet"))
    version = (table.schema.metadata or {}).get(b"wced_format_version", b"none").decode()
    if version != str(FORMAT_VERSION):
        raise WcedError(f"{path}: format version {version}, but this wced reads {FORMAT_VERSION}")
    return table.to_pandas()

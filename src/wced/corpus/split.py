"""Dividing cells into train and validation so that train knows every cell type and validation as many as it can."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wced import tables
from wced.config.corpus import Split
from wced.contracts import CELL_TYPE, UNKNOWN
from wced.corpus.draws import SPLIT, draws
from wced.corpus.units import choose_units

UNITS = ("dataset", "donor", "cell")
"""What is never divided, in the order of its codes."""


@dataclass(frozen=True)
class Divided:
    """Which cells are validated on, and how that was decided."""

    validation: np.ndarray
    """bool, (cells,)."""
    split_by: np.ndarray
    """int8, (cells,): code of the unit (`UNITS`)."""
    choices: pd.DataFrame
    """Rows of `wced.tables.SPLIT`."""


class _Split:
    """A split in progress."""

    def __init__(self, cells: pd.DataFrame, section: Split, seed: int) -> None:
        self.section, self.seed = section, seed
        self.cell_type, terms = coded(cells[CELL_TYPE])
        self.known = (cells[CELL_TYPE] != UNKNOWN).to_numpy()
        self.number = draws(cells["soma_joinid"].to_numpy(), seed, SPLIT)
        self.validation = np.zeros(len(cells), bool)
        self.train_c = np.bincount(self.cell_type[self.known], minlength=len(terms))
        self.seen_c = np.zeros(len(terms), bool)
        self.choices: list[dict[str, object]] = []

    def add(self, name: str, unit: str, rows: np.ndarray, unit_of_row: np.ndarray) -> None:
        """Send some units (codes, -1 for none) of some rows to validation, and note how they were chosen."""
        section, types, known = self.section, self.cell_type[rows], self.known[rows]
        n_units, n_types = unit_of_row.max(initial=-1) + 1, len(self.train_c)
        if unit == "cell":
            chosen = choose_cells(types, self.number[rows], section.validation_fraction)
            several = np.bincount(types[known], minlength=n_types) > 1
            method, at_most = "in proportion to cell types", int((several & ~self.seen_c).sum())
        elif n_units < 2:
            chosen, method, at_most = np.empty(0, np.int64), "nothing to choose: fewer than two units", 0
        else:
            size_u = np.bincount(unit_of_row[unit_of_row >= 0], minlength=n_units)
            counted = (unit_of_row >= 0) & known
            counts_uc = crosstab(unit_of_row[counted], types[counted], n_units, n_types)
            target, margin = section.validation_fraction * len(rows), section.tolerance * len(rows)
            choice = choose_units(
                counts_uc, size_u, self.train_c, self.seen_c, target, margin, self.seed, section.max_nodes
            )
            chosen, method, at_most = choice.units, choice.method, choice.types_at_most
        moved = rows[chosen] if unit == "cell" else rows[np.isin(unit_of_row, chosen)]
        moved_c = np.bincount(self.cell_type[moved][self.known[moved]], minlength=n_types)
        new_c = (moved_c > 0) & ~self.seen_c
        self.validation[moved] = True
        self.train_c -= moved_c
        self.seen_c |= new_c
        self.choices.append(
            {
                "dataset": name,
                "split_by": unit,
                "units": n_units,
                "units_in_validation": len(chosen),
                "cells": len(rows),
                "validation": len(moved),
                "share": len(moved) / len(rows),
                "share_wanted": section.validation_fraction,
                "new_types": int(new_c.sum()),
                "new_types_at_most": at_most,
                "method": method,
            }
        )


def split_cells(cells: pd.DataFrame, section: Split, seed: int) -> Divided:
    """Decide which cells are validated on.

    Whole units (datasets, or donors within one dataset after the other) are chosen by `choose_units`: train keeps
    every cell type, and within the tolerance of the share wanted as many types as possible come to validation. Single
    cells are sampled within each dataset in proportion to its cell types, and the first cell of every type stays in
    train.

    A dataset with one known donor (or none) cannot be split by donor: under strategy `donor` it is for training only,
    as are cells of unknown donor. A validation cell of a type that train lacks counts as unknown.

    `cells` has `soma_joinid` (ascending), `dataset_id`, `donor_id` and `cell_type_ontology_term_id` of the selected
    cells; text is categorical.
    """
    split = _Split(cells, section, seed)
    split_by = np.full(len(cells), UNITS.index("dataset"), np.int8)
    dataset, names = coded(cells["dataset_id"])
    if section.strategy == "dataset":
        split.add("all", "dataset", np.arange(len(cells)), _compact(dataset))
    else:
        donor = np.where(cells["donor_id"] == UNKNOWN, -1, cells["donor_id"].array.codes)
        ends = np.cumsum(np.bincount(dataset, minlength=len(names)))
        for name, rows in zip(names, np.split(np.argsort(dataset, kind="stable"), ends[:-1]), strict=True):
            if not len(rows):
                continue
            unit, unit_of_row = "donor", _compact(donor[rows])
            few = unit_of_row.max() + 1 < section.min_donors
            if section.strategy == "cell" or (section.strategy == "donor_else_cell" and few):
                unit, unit_of_row = "cell", np.arange(len(rows))
            split_by[rows] = UNITS.index(unit)
            split.add(name, unit, rows, unit_of_row)
    return Divided(split.validation, split_by, tables.checked(pd.DataFrame(split.choices), tables.SPLIT))


def choose_cells(types: np.ndarray, draw: np.ndarray, fraction: float) -> np.ndarray:
    """Return the indices of single cells for validation, in proportion to their types; each type keeps a cell in train.

    Cells are sorted by their random numbers `draw` (uint64, distinct) within each type, the first of each type is set
    aside for train, and every 1/f-th of the others is taken, the count running on over the types (systematic sampling)
    from where the smallest number says. `fraction` is the share of all cells that is wanted.
    """
    order = np.lexsort((draw, types))
    first = np.diff(types[order], prepend=-1) != 0
    rest = order[~first]
    share = min(fraction * len(types) / max(len(rest), 1), 1.0)
    # The smallest of n uniform numbers is near 1/n: its low bits are uniform all the same.
    start = float(draw.min() & np.uint64(0xFFFFFFFF)) / 2**32
    steps = np.floor(np.arange(len(rest) + 1) * share + start)
    return rest[np.diff(steps) > 0]


def exceptions(cells: pd.DataFrame, divided: Divided, names: Mapping[str, str]) -> pd.DataFrame:
    """Return the cell types that train lacks (the promise is broken) or that validation lacks.

    They are rows of `wced.tables.SPLIT_EXCEPTIONS`, with the readable `names` of types; nothing is promised for the
    unknown type.
    """
    cell_type, terms = coded(cells[CELL_TYPE])
    dataset, _ = coded(cells["dataset_id"])
    donor, donors = coded(cells["donor_id"])
    n_types = len(terms)
    in_train, in_validation = crosstab(divided.validation, cell_type, 2, n_types)
    # A unit is a dataset, a donor of a dataset, or a cell; numbers of the first two tell them apart.
    single = divided.split_by == UNITS.index("cell")
    donor_of = np.where(divided.split_by == UNITS.index("donor"), donor.astype(np.int64) + 1, 0)
    units = dataset.astype(np.int64) * (len(donors) + 1) + donor_of
    units_c = _distinct(cell_type[~single], units[~single], n_types) + np.bincount(cell_type[single], minlength=n_types)
    frame = pd.DataFrame(
        {
            "term": terms,
            "name": [names.get(term, term) for term in terms],
            "exception": np.where(in_train == 0, "not_in_train", "not_in_validation"),
            "train": in_train,
            "validation": in_validation,
            "datasets": _distinct(cell_type, dataset, n_types),
            "units": units_c,
        }
    )
    listed = frame[((in_train == 0) != (in_validation == 0)) & (terms != UNKNOWN)]
    return tables.checked(listed.sort_values(["exception", "term"], ignore_index=True), tables.SPLIT_EXCEPTIONS)


def coded(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and values of a categorical column."""
    return column.array.codes, column.cat.categories.to_numpy(object)


def crosstab(rows: np.ndarray, columns: np.ndarray, n_rows: int, n_columns: int) -> np.ndarray:
    """Return how often each pair of codes occurs; int64, (n_rows, n_columns)."""
    pair = rows.astype(np.int32) * np.int32(n_columns) + columns
    return np.bincount(pair, minlength=n_rows * n_columns).reshape(n_rows, n_columns)


def _compact(codes: np.ndarray) -> np.ndarray:
    """Return codes without gaps, in the same order; -1 stays."""
    occurs = np.bincount(codes[codes >= 0]) > 0
    return np.where(codes >= 0, np.append(np.cumsum(occurs) - 1, -1)[codes], -1)


def _distinct(groups: np.ndarray, values: np.ndarray, n_groups: int) -> np.ndarray:
    """Return how many different values each group has."""
    pairs = pd.unique(values.astype(np.int64) * n_groups + groups)
    return np.bincount(pairs % n_groups, minlength=n_groups)

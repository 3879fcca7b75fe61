"""Which cells a model is fine-tuned on: those with a label, divided so that train has every class."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from wced.config.finetuning import Finetuning, HeldOut
from wced.contracts import are_unknown
from wced.corpus.draws import SPLIT, draws
from wced.corpus.split import choose_cells
from wced.corpus.units import choose_units
from wced.errors import WcedError
from wced.finetuning.source import SPLITS

TRAIN, VALIDATION, TEST = range(3)

TOLERANCE = 0.01
"""How far the share of whole groups may be from the one wanted to bring more classes into it."""


@dataclass(frozen=True)
class LabelledCells:
    """Cells with their classes and splits, in the order of obs."""

    classes: tuple[str, ...]
    """Classes that train has, sorted."""
    value_n: np.ndarray
    """str, (n,): labels as in obs."""
    code_n: np.ndarray
    """int32, (n,): index among the classes; -1 for none of them."""
    split_n: np.ndarray
    """int8, (n,): index in `SPLITS`; -1 for cells that are left out."""
    unseen: dict[str, int]
    """Validation and test cells of each class that train lacks; they have code -1."""
    notes: tuple[str, ...]
    """How many cells there are, and what was left out, for people."""


def labelled_cells(
    obs: pd.DataFrame, column: str, empty_n: np.ndarray, section: Finetuning, seed: int
) -> LabelledCells:
    """Choose and divide the cells of a column of labels.

    Left out are cells without a label (missing, or a word for unknown), cells without any gene of the model
    (`empty_n`, bool), and classes with fewer than `min_class_size` other cells. WcedError is raised if there is no such
    column, fewer than two classes are left, no cell is left to validate on, the column of the split has another word
    than those of `SPLITS`, or no group can be held out without train losing a class.
    """
    value_n = _values(obs, column)
    known_n = ~are_unknown(value_n)
    used_n = known_n & ~empty_n
    sizes = value_n[used_n].value_counts().sort_index()
    small = sizes[sizes < section.min_class_size]
    used_n &= ~value_n.isin(small.index).to_numpy()
    names = sizes.index.difference(small.index)
    _check_two(names, column, f"with {section.min_class_size} labelled cells or more (min_class_size)")
    notes = [f"{(~known_n).sum()} cells without a label are left out"] if not known_n.all() else []
    if lost := int((known_n & empty_n).sum()):
        notes.append(f"{lost} cells without any gene of the model are left out")
    if len(small):
        notes.append(
            f"{small.sum()} cells of {len(small)} classes with fewer than {section.min_class_size} are left out: "
            f"{_some(small.index)}"
        )

    rows, held_out = np.flatnonzero(used_n), section.held_out
    code = names.get_indexer(pd.Index(value_n[used_n]))
    split_n = np.full(len(obs), -1, np.int8)
    if held_out.by == "column":
        split_n[rows] = _by_column(obs.iloc[rows], held_out)
        train = rows[split_n[rows] == TRAIN]
        if not (split_n == VALIDATION).any() and len(train):
            split_n[train] = _by_cell(code[split_n[rows] == TRAIN], train, held_out, seed)
            notes.append(
                f"{held_out.column} has no validation cells: {held_out.validation:.0%} of train are taken for it"
            )
    elif held_out.by == "group":
        split_n[rows] = _by_group(obs.iloc[rows], names, code, held_out, seed)
    else:
        split_n[rows] = _by_cell(code, rows, held_out, seed)
    if not (split_n == VALIDATION).any():
        raise WcedError(f"held_out: no cell of {column} is left to validate on")

    classes = names[np.bincount(code[split_n[rows] == TRAIN], minlength=len(names)) > 0]
    _check_two(classes, column, "in train")
    code_n = np.full(len(obs), -1, np.int32)
    code_n[rows] = classes.get_indexer(names)[code]
    unseen = value_n[used_n & (code_n < 0)].value_counts().sort_index()
    if len(unseen):
        notes.append(
            f"{unseen.sum()} validation and test cells of {len(unseen)} classes that train lacks have no loss, and are "
            f"predicted wrongly: {_some(unseen.index)}"
        )
    numbers = ", ".join(f"{(split_n == i).sum()} {name}" for i, name in enumerate(SPLITS))
    notes.insert(0, f"{column}: {numbers} cells of {len(classes)} classes")
    return LabelledCells(
        tuple(classes), value_n.to_numpy(object), code_n, split_n, {k: int(n) for k, n in unseen.items()}, tuple(notes)
    )


def _values(obs: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of obs as text, missing where it is."""
    if column not in obs:
        raise WcedError(f"obs: there is no column {column}; there are {', '.join(map(str, obs)) or 'none'}")
    values = obs[column].astype(object).reset_index(drop=True)
    return values.where(values.isna(), values.astype(str))


def _check_two(classes: pd.Index, column: str, where: str) -> None:
    if len(classes) < 2:
        raise WcedError(f"{column}: {len(classes) or 'no'} class{'' if len(classes) else 'es'} {where}; two are needed")


def _some(names: pd.Index) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _by_cell(code: np.ndarray, rows: np.ndarray, held_out: HeldOut, seed: int) -> np.ndarray:
    """Send single cells to test, then to validation, in proportion to their classes; one of each stays in train."""
    split = np.full(len(code), TRAIN, np.int8)
    for purpose, (name, share) in enumerate(((TEST, held_out.test), (VALIDATION, held_out.validation))):
        left = np.flatnonzero(split == TRAIN)
        random = draws(rows[left], seed, SPLIT + purpose)
        split[left[choose_cells(code[left], random, share * len(code) / len(left))]] = name
    return split


def _by_group(obs: pd.DataFrame, names: pd.Index, code: np.ndarray, held_out: HeldOut, seed: int) -> np.ndarray:
    """Send whole groups to test, then to validation; cells of no known group stay in train."""
    values = _values(obs, held_out.column)
    group, groups = pd.factorize(values.where(~are_unknown(values)), sort=True)
    counts_gc = np.zeros((len(groups), len(names)), np.int64)
    np.add.at(counts_gc, (group[group >= 0], code[group >= 0]), 1)
    train_c, seen_c = np.bincount(code, minlength=len(names)), np.zeros(len(names), bool)
    split_g = np.full(len(groups), TRAIN, np.int8)
    for name, share in ((TEST, held_out.test), (VALIDATION, held_out.validation)):
        if not share:
            continue
        left = np.flatnonzero(split_g == TRAIN)
        left_gc = counts_gc[left]
        if len(left) > 1:
            wanted, margin = share * len(code), TOLERANCE * len(code)
            units = choose_units(left_gc, left_gc.sum(axis=1), train_c, seen_c, wanted, margin, seed).units
            moved_c = left_gc[units].sum(axis=0)
        if len(left) < 2 or (moved_c == train_c).any():
            raise WcedError(
                f"held_out.column: no group of {held_out.column} can be held out for {SPLITS[name]} without train "
                f"losing a class ({len(left)} of its {len(groups)} groups are left)"
            )
        split_g[left[units]] = name
        train_c = train_c - moved_c
    return np.append(split_g, np.int8(TRAIN))[group]


def _by_column(obs: pd.DataFrame, held_out: HeldOut) -> np.ndarray:
    """Read splits from their words."""
    values = _values(obs, held_out.column)
    split = pd.Index(SPLITS).get_indexer(values).astype(np.int8)
    if (split < 0).any():
        word = values[split < 0].iloc[0]
        raise WcedError(f"held_out.column: {held_out.column} has {word!r}, which is none of {', '.join(SPLITS)}")
    return split

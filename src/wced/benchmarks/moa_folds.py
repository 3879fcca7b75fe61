"""Folds that hold whole drugs out, so that a classifier must know a mechanism from drugs that it never saw."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wced.errors import WcedError


@dataclass(frozen=True)
class Fold:
    """One split of the cells; every drug is on one side only, and every class on both."""

    repeat: int
    """Number of the repeat, from 0."""
    fold: int
    """Number of the fold in its repeat, from 0."""
    test_drugs: tuple[str, ...]
    """Drugs that are held out, sorted."""
    test_n: np.ndarray
    """bool, (cells,): cells of these drugs; the others train."""


def class_of_drug(drug_n: np.ndarray, class_n: np.ndarray) -> pd.Series:
    """Return the class of each drug, indexed by drug, sorted.

    Parameters
    ----------
    drug_n, class_n
        Drug and class of each cell, text.

    Raises
    ------
    WcedError
        If a drug has cells of several classes: it would teach a classifier what it is then asked.
    """
    pairs = pd.DataFrame({"drug": drug_n, "class": class_n}).drop_duplicates().sort_values(["drug", "class"])
    twice = pairs["drug"].duplicated()
    if twice.any():
        drug = pairs["drug"][twice].iloc[0]
        classes = " and ".join(pairs["class"][pairs["drug"] == drug].iloc[:2])
        raise WcedError(f"drug {drug} has cells of the classes {classes}; a drug has one class")
    return pairs.set_index("drug")["class"]


def drug_folds(drug_n: np.ndarray, class_n: np.ndarray, *, folds: int, repeats: int, seed: int) -> Iterator[Fold]:
    """Yield the folds of each repeat (paper, section 4.5: stratified 2-fold, repeated 5 times, whole drugs held out).

    In each repeat the drugs of every class are shuffled and dealt out to the folds in turn, from a random fold on. So
    each fold holds at least one whole drug of each class out and trains on at least one other, each drug is held out
    once a repeat, and the folds' numbers of drugs of a class differ by one at most.

    Parameters
    ----------
    drug_n, class_n
        Drug and class of each cell, text.
    folds
        Folds of a repeat, at least 2.
    repeats
        Repeats.
    seed
        Seed of all shuffles.

    Raises
    ------
    WcedError
        If a drug has several classes, or a class has fewer drugs than there are folds.
    """
    of_drug = class_of_drug(drug_n, class_n)
    drugs = of_drug.index.to_numpy(dtype=str)
    drugs_of_class = {name: np.flatnonzero(of_drug.to_numpy() == name) for name in sorted(of_drug.unique())}
    for name, members in drugs_of_class.items():
        if len(members) < folds:
            raise WcedError(f"class {name}: {len(members)} drugs are too few to hold one out in each of {folds} folds")
    place_n = np.searchsorted(drugs, np.asarray(drug_n, dtype=str))
    rng = np.random.default_rng(seed)
    for repeat in range(repeats):
        fold_of_drug = np.empty(len(drugs), np.int64)
        for members in drugs_of_class.values():
            fold_of_drug[rng.permutation(members)] = (np.arange(len(members)) + rng.integers(folds)) % folds
        for fold in range(folds):
            held_out = fold_of_drug == fold
            yield Fold(repeat, fold, tuple(drugs[held_out].tolist()), held_out[place_n])

"""Dividing cells into train and validation so that train knows every class, and validation is as large as wanted."""

import numpy as np
import pandas as pd

from wced.config.corpus import Split
from wced.corpus.terms import UNKNOWN


def split_cells(cells: pd.DataFrame, section: Split, seed: int) -> pd.DataFrame:
    """Decide which cells are validated on.

    Whole units (datasets, or donors within each dataset) go to validation one by one: each brings the share of
    validation cells nearer to its target, leaves every cell type in train, and, of those that do, adds the most cell
    types to validation; ties are drawn at random. Where none qualifies, one unit goes nevertheless: the one for which
    the distance to the target and the cells of types that train loses add up to the fewest cells; a validation cell
    of a lost type counts as unknown. Single cells are drawn within each dataset in proportion to its
    cell types, and the first cell of every type stays in train.

    Parameters
    ----------
    cells
        `dataset_id`, `donor_id` and `cell_type_ontology_term_id` of the selected cells, in the order of soma_joinid.
    section
        Strategy and target share.
    seed
        Seed of all that is drawn.

    Returns
    -------
    pandas.DataFrame
        With the index of `cells`: `validation` (bool) and `split_by` (`dataset`, `donor` or `cell`). A dataset with
        one known donor (or none) cannot be split by donor: under strategy `donor` it is for training only, as are cells
        of unknown donor.
    """
    rng = np.random.default_rng([seed, 2])
    classes, _ = pd.factorize(cells["cell_type_ontology_term_id"].astype(str), sort=True)
    known = (cells["cell_type_ontology_term_id"].astype(str) != UNKNOWN).to_numpy()
    dataset, names = pd.factorize(cells["dataset_id"].astype(str), sort=True)
    validation, split_by = np.zeros(len(cells), bool), np.empty(len(cells), object)
    train_c = np.bincount(classes[known], minlength=classes.max() + 1)

    def move(rows: np.ndarray, units: np.ndarray, must: bool) -> None:
        """Choose among units (codes of `rows`, -1 for none) and note it in `validation` and `train_c`."""
        counts_uc = np.zeros((units.max() + 1, len(train_c)), np.int64)
        counted = (units >= 0) & known[rows]
        np.add.at(counts_uc, (units[counted], classes[rows][counted]), 1)
        size_u = np.bincount(units[units >= 0], minlength=len(counts_uc))
        chosen = choose_units(counts_uc, size_u, train_c, section.validation_fraction * len(rows), must, rng)
        validation[rows[np.isin(units, chosen)]] = True
        train_c[:] -= counts_uc[chosen].sum(axis=0)

    if section.strategy == "dataset":
        split_by[:] = "dataset"
        move(np.arange(len(cells)), dataset, must=len(names) > 1)
        return pd.DataFrame({"validation": validation, "split_by": split_by}, index=cells.index)

    donors = cells["donor_id"].astype(str)
    for code in range(len(names)):
        rows = np.flatnonzero(dataset == code)
        names_of_rows = donors.iloc[rows]
        units, known_donors = pd.factorize(names_of_rows.where(names_of_rows != UNKNOWN), sort=True)
        n_donors = len(known_donors)
        if section.strategy == "donor" or (section.strategy == "donor_else_cell" and n_donors >= section.min_donors):
            split_by[rows] = "donor"
            if n_donors > 1:
                move(rows, units, must=True)
        else:
            split_by[rows] = "cell"
            chosen = rows[choose_cells(classes[rows], section.validation_fraction, rng)]
            validation[chosen] = True
            train_c -= np.bincount(classes[chosen][known[chosen]], minlength=len(train_c))
    return pd.DataFrame({"validation": validation, "split_by": split_by}, index=cells.index)


def choose_units(
    counts_uc: np.ndarray,
    size_u: np.ndarray,
    train_c: np.ndarray,
    target: float,
    must: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """Choose the units (datasets or donors) that are validated on; see `split_cells` for the rule.

    Parameters
    ----------
    counts_uc
        Cells of each unit and class; cells without a class are in `size_u` only.
    size_u
        Cells of each unit.
    train_c
        Cells of each class that are in train while nothing is chosen, those of other units included.
    target
        Cells wanted for validation.
    must
        Whether at least one unit is chosen, even if train loses a class or the target is missed by more.
    rng
        Breaks ties.

    Returns
    -------
    numpy.ndarray
        Places of the chosen units, in the order in which they were chosen.
    """
    chosen: list[int] = []
    seen_c = np.zeros(counts_uc.shape[1], bool)
    free_u, tie_u = np.ones(len(size_u), bool), rng.random(len(size_u))
    held = 0
    while True:
        left_c = train_c - counts_uc[chosen].sum(axis=0)
        lost_u = np.where(counts_uc == left_c, counts_uc, 0).sum(axis=1)
        nearer_u = np.abs(held + size_u - target) < abs(held - target)
        candidates = np.flatnonzero(free_u & nearer_u & (lost_u == 0) & (size_u > 0))
        if len(candidates):
            new_u = ((counts_uc > 0) & ~seen_c).sum(axis=1)
            best = candidates[np.lexsort((tie_u[candidates], -new_u[candidates]))[0]]
        elif must and not chosen:
            best = np.lexsort((tie_u, np.abs(size_u - target) + lost_u))[0]
        else:
            return np.array(chosen, dtype=np.int64)
        chosen.append(int(best))
        free_u[best] = False
        seen_c |= counts_uc[best] > 0
        held += size_u[best]


def choose_cells(classes: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Choose single cells for validation, in proportion to classes, leaving a cell of each class in train.

    Cells are put in random order within their class, one of each class set aside for train, and every 1/f-th of
    the others is taken, the count running on over the classes (systematic sampling).

    Parameters
    ----------
    classes
        Class code of each cell.
    fraction
        Share of all cells that is wanted.
    rng
        Order and start of the sampling.

    Returns
    -------
    numpy.ndarray
        Places of the chosen cells.
    """
    order = np.lexsort((rng.random(len(classes)), classes))
    first = np.diff(classes[order], prepend=-1) != 0
    rest = order[~first]
    share = min(fraction * len(classes) / max(len(rest), 1), 1.0)
    steps = np.floor(np.arange(len(rest) + 1) * share + rng.random())
    return rest[np.diff(steps) > 0]

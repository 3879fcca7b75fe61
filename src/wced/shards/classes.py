"""Classes of cells by any combination of columns, and what a cell of each weighs."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from wced.errors import WcedError
from wced.shards.order import CellSource


class CellClasses:
    """The combinations of some columns' values that cells have; unknown is a value too.

    Only combinations that occur take memory, however many there could be.

    Attributes
    ----------
    number_of
        int64, (classes,): cells of each class.
    """

    def __init__(self, source: CellSource, columns: Sequence[str], chunks: Iterable[np.ndarray]) -> None:
        """Count the classes of cells.

        Parameters
        ----------
        source
            Where the cells are from.
        columns
            `dataset` or label columns.
        chunks
            Places of the cells, some at a time.

        Raises
        ------
        WcedError
            If the source has no such column, or the columns could have 2^63 combinations or more.
        """
        sizes = [_number_of_values(source, name) + 1 for name in columns]
        if math.prod(sizes) >= 2**63:
            raise WcedError(f"order.columns: {', '.join(columns)} have too many combinations; name fewer columns")
        self._source, self._columns, self._sizes = source, columns, sizes
        cells_by_key: Counter[int] = Counter()
        for places in chunks:
            keys, cells = np.unique(self._keys(places), return_counts=True)
            cells_by_key.update(dict(zip(keys.tolist(), cells.tolist(), strict=True)))
        self._keys_c = np.array(sorted(cells_by_key), np.int64)
        self.number_of = np.array([cells_by_key[key] for key in self._keys_c.tolist()], np.int64)

    def of(self, places: np.ndarray) -> np.ndarray:
        """Return the class of each of some counted cells; int64, (n,)."""
        return np.searchsorted(self._keys_c, self._keys(places))

    def _keys(self, places: np.ndarray) -> np.ndarray:
        """Return one number for each cell's combination: its codes are the digits, 0 for unknown."""
        keys = np.zeros(len(places), np.int64)
        for name, size in zip(self._columns, self._sizes, strict=True):
            keys *= size
            keys += self._source.column(name, places) + 1
        return keys


def class_weights(number_of: np.ndarray, power: float, max_repeats: float) -> np.ndarray:
    """Return the expected samples of a cell of each class when there are as many samples as cells.

    Parameters
    ----------
    number_of
        Cells of each class, int64.
    power
        w_c ∝ n_c^-power.
    max_repeats
        Largest weight; what classes at this limit leave is shared out among the others.
    """
    raw = np.where(number_of > 0, np.maximum(number_of, 1).astype(np.float64) ** -power, 0.0)
    total, capped = number_of.sum(), np.zeros(len(number_of), bool)
    while True:
        rest = total - max_repeats * number_of[capped].sum()
        weights = np.where(capped, max_repeats, raw * (rest / max((raw * number_of)[~capped].sum(), 1e-300)))
        weights[number_of == 0] = 0
        over = ~capped & (weights > max_repeats)
        if not over.any():
            return weights
        capped |= over


def _number_of_values(source: CellSource, column: str) -> int:
    if column == "dataset":
        return len(source.dataset_ids)
    if column not in source.labels.classes:
        raise WcedError(
            f"order.columns: {column} is no label of the shards, which have {', '.join(source.label_columns)}"
        )
    return len(source.labels.classes[column])

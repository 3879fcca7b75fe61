"""Cells in memory as a source of batches."""

from types import SimpleNamespace

import numpy as np

from wced.config.pretraining import Order
from wced.shards.cells import CellSource, RaggedCells


def order(strategy="shuffled", **section):
    """A config section `order`, unchecked: tests have smaller blocks than a config. None for a sequential one."""
    return None if strategy == "sequential" else Order.model_construct(strategy=strategy, **section)


class MemorySource(CellSource):
    """Cells whose split and class are given; cell i has `nonzeros[i]` genes and soma_joinid 10 i.

    `labels` are the codes of further columns by name.
    """

    label_columns, number_columns, vocabulary = ("label",), (), None

    def __init__(self, train, dataset=None, nonzeros=None, genes=500, labels=None, **share):
        vars(self).update(share)
        self.train = np.asarray(train, bool)
        n = len(self.train)
        self.dataset = np.zeros(n, np.int32) if dataset is None else np.asarray(dataset, np.int32)
        self.nonzeros = np.ones(n, np.int64) if nonzeros is None else np.asarray(nonzeros)
        self.measured_dv = np.ones((self.dataset.max() + 1, genes), bool)
        self.dataset_ids = [f"d{code}" for code in range(len(self.measured_dv))]
        self._label_codes = {name: np.asarray(codes, np.int32) for name, codes in (labels or {}).items()}
        codes = self._label_codes.items()
        self.labels = SimpleNamespace(classes={name: tuple(map(str, range(code.max() + 1))) for name, code in codes})

    def __len__(self):
        return len(self.train)

    def _places(self, split, start, stop):
        rows = np.flatnonzero((self.train if split == "train" else ~self.train) & (self.nonzeros > 0))
        return rows[(rows >= start) & (rows < stop)]

    def column(self, name, cells):
        columns = {"dataset": self.dataset, "soma_joinid": 10 * np.arange(len(self)), **self._label_codes}
        return columns[name][cells]

    def offsets(self, cells):
        return np.concatenate([[0], np.cumsum(self.nonzeros[cells])])

    def take(self, cells):
        offsets = self.offsets(cells)
        gene = np.concatenate([np.arange(n) for n in self.nonzeros[cells]] or [[]]).astype(np.uint16)
        return RaggedCells(
            offsets, gene, np.ones(len(gene), np.uint32), 10 * np.asarray(cells), self.dataset[cells],
            np.zeros((len(cells), 1), np.int32),
        )  # fmt: skip

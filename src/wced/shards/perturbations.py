"""Which genes were perturbed in a cell: from the names in a column of obs to the positions of a sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numba
import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.genes.names import GeneNames, without_version

if TYPE_CHECKING:
    from wced.shards.vocabulary import Vocabulary

SEPARATOR = ";"
"""Stands between the genes of a cell."""

NONE = frozenset(("", "control", "ctrl", "non-targeting", "none", "na", "nan", "unknown"))
"""What stands for no gene, in small letters."""


@dataclass(frozen=True)
class Perturbations:
    """What the values of a column of obs say of perturbed genes."""

    column: str
    """The column."""
    genes: dict[str, tuple[int, ...]]
    """Vocabulary ids, ascending, of each value that names genes; a value's code is its place. Others have code -1."""
    unmarked: dict[str, int]
    """Cells by each name that no gene of the vocabulary has: these genes are marked nowhere."""

    def codes(self, values: pd.Series) -> np.ndarray:
        """Return the code of each value, -1 where it names no gene; int32, (len(values),)."""
        return pd.Index(self.genes).get_indexer(pd.Index(values.astype(str))).astype(np.int32)

    @cached_property
    def gene_pm(self) -> np.ndarray:
        """int32, (values + 1, most genes of one): vocabulary ids by code, -1 where there are none, as for code -1."""
        most = max(map(len, self.genes.values()), default=0)
        rows = [[*ids, *[-1] * (most - len(ids))] for ids in [*self.genes.values(), ()]]
        return np.array(rows, np.int32).reshape(len(rows), most)


def gene_ids_of(values: Sequence[str], vocabulary: "Vocabulary", names: GeneNames) -> list[dict[str, int]]:
    """Return the vocabulary id of each gene that a value names, -1 for a name that no gene of the vocabulary has.

    Parameters
    ----------
    values
        Ensembl ids (with or without version) or symbols, several in one value with `SEPARATOR` between.
    vocabulary
        Genes.
    names
        What symbols stand for.
    """
    named = [
        [name for part in value.split(SEPARATOR) if (name := part.strip()).lower() not in NONE] for value in values
    ]
    known = pd.unique(np.array([name for own in named for name in own], dtype=object))
    plain = without_version(known)
    ids = vocabulary.ids_of(plain)
    ids = np.where(ids >= 0, ids, vocabulary.ids_of(names.ids_of(known)))
    id_of = dict(zip(known, ids.tolist(), strict=True))
    return [{name: id_of[name] for name in own} for own in named]


def make_perturbations(cells: pd.DataFrame, column: str, vocabulary: "Vocabulary", names: GeneNames) -> Perturbations:
    """Read the perturbed genes of all cells.

    Parameters
    ----------
    cells
        Rows of cells.parquet.
    column
        Column of obs that names the perturbed genes of a cell.
    vocabulary, names
        As in `gene_ids_of`.

    Raises
    ------
    WcedError
        If there is no such column, or it names no gene of the vocabulary.
    """
    if column not in cells:
        raise WcedError(f"shards.perturbed_column: cells.parquet has no column {column}")
    number_of = cells[column].astype(str).value_counts().sort_index()
    number_of = number_of[number_of > 0]
    genes, unmarked = {}, {}
    for value, named in zip(number_of.index, gene_ids_of(number_of.index, vocabulary, names), strict=True):
        ids = tuple(sorted({gene for gene in named.values() if gene >= 0}))
        genes |= {value: ids} if ids else {}
        for name, gene in named.items():
            if gene < 0:
                unmarked[name] = unmarked.get(name, 0) + int(number_of[value])
    if not genes:
        raise WcedError(f"shards.perturbed_column: {column} names no gene of the vocabulary in any cell")
    return Perturbations(column, genes, dict(sorted(unmarked.items())))


@numba.njit(nogil=True, cache=True)
def mark_perturbed(gene, lengths, perturbed, state):
    """Write 1 to `state` where a sequence has one of the cell's perturbed genes, else 0.

    Parameters
    ----------
    gene
        int32, (n, l): vocabulary ids.
    lengths
        int64, (n,): positions that are there.
    perturbed
        int32, (n, m): vocabulary ids of each cell's perturbed genes, -1 for none.
    state
        int8, (n, l): written.
    """
    state[:] = 0
    for i in range(len(lengths)):
        for j in range(perturbed.shape[1]):
            if perturbed[i, j] >= 0:
                for k in range(lengths[i]):
                    state[i, k] |= gene[i, k] == perturbed[i, j]

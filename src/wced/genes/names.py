"""From gene names to Ensembl ids."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


def without_version(gene_ids: Sequence[str]) -> np.ndarray:
    """Return Ensembl ids without their version, and without `_PAR_Y`; other names are returned as they are."""
    names = pd.Series(gene_ids, dtype=str)
    return names.str.replace(r"^(ENSG\d{11})(?:\.\d+)?(?:_PAR_Y)?$", r"\1", regex=True).to_numpy(dtype=object)


@dataclass(frozen=True)
class GeneNames:
    """Which Ensembl id a gene name stands for."""

    gene_id: pd.Series
    """Ensembl id of every unambiguous name, indexed by name."""
    ambiguous: frozenset[str]
    """Names that stand for several genes, and therefore map to none."""

    def ids_of(self, names: Sequence[str]) -> np.ndarray:
        """Return the Ensembl id of each name, the empty string for unknown and ambiguous ones; shape (len(names),)."""
        return pd.Series(names, dtype=object).map(self.gene_id).fillna("").to_numpy(dtype=object)


def gene_names(table: pd.DataFrame) -> GeneNames:
    """Learn all names of the genes of a gene table.

    The first source that knows a name decides what it stands for: GENCODE's symbol, HGNC's approved symbol, previous
    symbols, aliases. A name of several genes in that source is ambiguous and maps to none; but where GENCODE
    gives one symbol to several genes, HGNC's approved gene of this symbol is meant if it is one of them.
    """
    approved = table.loc[table["hgnc_symbol"] != "", ["hgnc_symbol", "gene_id"]].set_axis(["name", "gene_id"], axis=1)
    sources = [
        table[["symbol", "gene_id"]].set_axis(["name", "gene_id"], axis=1),
        approved,
        _exploded(table, "previous_symbols"),
        _exploded(table, "alias_symbols"),
    ]
    known, ambiguous, found = set(), set(), []
    for place, pairs in enumerate(sources):
        pairs = pairs[~pairs["name"].isin(known)].drop_duplicates()
        known |= set(pairs["name"])
        shared = pairs["name"].duplicated(keep=False)
        found.append(pairs[~shared])
        tied = pairs[shared]
        if place == 0:
            settled = tied.merge(approved, on=["name", "gene_id"]).drop_duplicates("name", keep=False)
            found.append(settled)
            tied = tied[~tied["name"].isin(settled["name"])]
        ambiguous |= set(tied["name"])
    return GeneNames(pd.concat(found).set_index("name")["gene_id"], frozenset(ambiguous))


def _exploded(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table[[column, "gene_id"]].explode(column).dropna().set_axis(["name", "gene_id"], axis=1)

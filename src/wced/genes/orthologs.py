"""From genes of another species to human genes, where one gene of either is the ortholog of the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.tables import read_text

COLUMNS = ["Gene stable ID", "Gene name", "Human gene stable ID", "Human homology type"]
"""Columns of Ensembl BioMart's table of homologs that are used."""
ONE_TO_ONE = "ortholog_one2one"
"""BioMart's word for a pair of genes of which neither has another ortholog."""


@dataclass(frozen=True)
class Orthologs:
    """Genes of another species and their human orthologs."""

    human_of_id: pd.Series
    """Human Ensembl id of every gene of the species, by its Ensembl id; empty without a one-to-one ortholog."""
    human_of_symbol: pd.Series
    """The same, indexed by symbol; symbols of several genes are left out."""

    def ids_of(self, names: Sequence[str], kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the human Ensembl id of genes, and whether the species has such genes, bool; both (genes,).

        `kind` of the names is `ensembl` (with or without version) or `symbol`. An id is empty without a one-to-one
        ortholog.
        """
        names = pd.Series(names, dtype=object)
        if kind == "ensembl":
            ids = names.str.replace(r"\.\d+$", "", regex=True).map(self.human_of_id)
        else:
            ids = names.map(self.human_of_symbol)
        return ids.fillna("").to_numpy(dtype=object), ids.notna().to_numpy()


def read_orthologs(path: str | Path) -> Orthologs:
    """Read a table of homologs as Ensembl BioMart exports it (CSV with a row per pair, or per gene without any).

    WcedError if it is no such table, or calls a gene one-to-one in two pairs.
    """
    frame = read_text(path, "homologs as Ensembl BioMart exports them (CSV)", COLUMNS, sep=",")
    frame = frame[COLUMNS].set_axis(["gene_id", "symbol", "human_id", "type"], axis=1)
    pairs = frame[frame["type"] == ONE_TO_ONE]
    for column in ("gene_id", "human_id"):
        if (repeated := pairs[column].duplicated()).any():
            raise WcedError(f"{path}: {pairs.loc[repeated, column].iloc[0]} is {ONE_TO_ONE} with two genes")
    genes = frame[["gene_id", "symbol"]].drop_duplicates()
    genes = genes.assign(human_id=genes["gene_id"].map(pairs.set_index("gene_id")["human_id"]).fillna(""))
    named = genes[(genes["symbol"] != "") & ~genes["symbol"].duplicated(keep=False)]
    by_id = genes.drop_duplicates("gene_id").set_index("gene_id")["human_id"]
    return Orthologs(by_id, named.set_index("symbol")["human_id"])

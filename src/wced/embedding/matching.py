"""Which gene of a model's vocabulary each gene of an AnnData is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.genes.names import GeneNames, what_names_are, without_version
from wced.shards.vocabulary import Vocabulary

COLUMNS = (
    "gene_ids", "gene_id", "ensembl_id", "ensembl", "feature_id",
    "feature_name", "gene_symbols", "gene_symbol", "gene_name", "symbol",
)  # fmt: skip
"""Columns of var in which gene names are looked for, after var_names: those of 10x, CELLxGENE and scanpy's readers."""


@dataclass(frozen=True)
class GeneMatch:
    """What the genes of an AnnData are in a vocabulary."""

    source: str
    """Where their names stand: `var_names`, or `var['…']`."""
    id_g: np.ndarray
    """int32, (genes of the AnnData,): vocabulary ids, -1 for genes outside. Several may be the same gene."""
    by_symbol: int
    """Genes that were known by a symbol; the other known ones by their Ensembl id."""
    name_g: np.ndarray
    """text: their names there."""

    @property
    def found(self) -> int:
        """Number of different genes of the vocabulary."""
        return len(np.unique(self.id_g[self.id_g >= 0]))


def symbols_of(vocabulary: Vocabulary) -> GeneNames:
    """Return what symbols, previous symbols and aliases stand for; a name of several genes stands for none.

    Of a vocabulary that notes no names (of an older checkpoint) only symbols are known.
    """
    names = vocabulary.symbols if vocabulary.names is None else vocabulary.names
    pairs = pd.Series([name.split("|") for name in names], index=vocabulary.gene_ids, dtype=object).explode()
    names = pd.Series(pairs.index, index=pd.Index(pairs, dtype=object))
    shared = names.index.duplicated(keep=False)
    return GeneNames(names[~shared & (names.index != "")], frozenset(names.index[shared]))


def match_genes(var: pd.DataFrame, vocabulary: Vocabulary, gene_column: str | None = None) -> GeneMatch:
    """Match genes by Ensembl id (versions do not count), or else by the symbols that the vocabulary gives a gene.

    Parameters
    ----------
    var
        Genes of an AnnData; its index are the var_names.
    vocabulary
        Genes of the model.
    gene_column
        Column of `var` with their names. None takes var_names or one of `COLUMNS`: where most Ensembl ids are found or,
        if there are none, most symbols; of equals the first.

    Raises
    ------
    WcedError
        If there is no such column, or no gene of the vocabulary is found.
    """
    if gene_column is not None and gene_column not in var:
        raise WcedError(f"var: there is no column {gene_column}; there are {', '.join(map(str, var)) or 'none'}")
    columns = [column for column in COLUMNS if column in var] if gene_column is None else [gene_column]
    candidates = {"var_names": var.index} if gene_column is None else {}
    candidates |= {f"var[{column!r}]": var[column] for column in columns}
    symbols = symbols_of(vocabulary)
    matches = [_match(source, names, vocabulary, symbols) for source, names in candidates.items()]
    best = max(matches, key=lambda match: ((match.id_g >= 0).sum() - match.by_symbol, match.found))
    if not best.found:
        raise WcedError(
            f"{', '.join(candidates)}: none is an Ensembl id or a symbol of the model's vocabulary"
            f"{what_names_are(next(iter(candidates.values())))}"
        )
    return best


def _match(source: str, names: Sequence[str], vocabulary: Vocabulary, symbols: GeneNames) -> GeneMatch:
    names = np.asarray(names, dtype=object).astype(str)
    id_g = vocabulary.ids_of(names)
    versioned = (id_g < 0) & np.char.startswith(names, "ENSG")
    id_g[versioned] = vocabulary.ids_of(without_version(names[versioned]))
    unknown = id_g < 0
    id_g[unknown] = vocabulary.ids_of(symbols.ids_of(names[unknown]))
    return GeneMatch(source, id_g, int((id_g[unknown] >= 0).sum()), names)

"""From gene names to Ensembl ids."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


def without_version(gene_ids: Sequence[str]) -> np.ndarray:
    """Return Ensembl ids without their version, and without `_PAR_Y`; other names are returned as they are."""
    names = pd.Series(gene_ids, dtype=str)
    return names.str.replace(r"^(ENSG\d{11})(?:\.\d+)?(?:_PAR_Y)?$", r"\1", regex=True).to_numpy(dtype=object)


KINDS = {
    r"\d+(\.0)?": "ids of Entrez (NCBI): map them to Ensembl ids or symbols, e.g. by entrez_id of HGNC's complete set",
    r"ENSMUS[GT]\d+.*": "genes of the mouse: wced source maps them to human ones (species mus_musculus)",
    r"ENST\d+.*|[NX][MR]_\d+.*": "transcripts: add them up to genes first",
    r"ENSP\d+.*|[OPQ]\d[A-Z0-9]{3}\d": "proteins: map them to Ensembl ids or symbols of their genes first",
}  # fmt: skip
"""Patterns of names that are of no use, and what to do."""


def what_names_are(names: Sequence[str]) -> str:
    """Return the end of a sentence about unknown names: what they look like; empty if they look like nothing known."""
    texts = pd.Series(np.asarray(names, dtype=object)).astype(str).reset_index(drop=True)
    if len(texts) and (texts == texts.index.astype(str)).all():
        return "; they only number the genes, whose names stand elsewhere"
    for pattern, what in KINDS.items():
        if texts.str.fullmatch(pattern).mean() > 0.5:
            return f"; they look like {what}"
    return ""


REFSEQ = pd.Series({"MT-CO1": "COX1", "MT-CO2": "COX2", "MT-ND1": "ND1"})
"""RefSeq's names of mitochondrial genes, by symbol. HGNC has these three as aliases of PTGS1, PTGS2 and IVNS1ABP too,
which no annotation calls so; RefSeq's other names of mitochondrial genes are aliases of no other gene."""


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
    """Return all names of the genes of a gene table.

    The first source that knows a name decides what it stands for: GENCODE's symbol, HGNC's approved symbol, `REFSEQ`,
    previous symbols, aliases. A name of several genes in that source is ambiguous and maps to none; but where GENCODE
    gives one symbol to several genes, HGNC's approved gene of this symbol is meant if it is one of them.
    """

    def pairs_of(column: str) -> pd.DataFrame:
        return table[[column, "gene_id"]].explode(column).dropna().set_axis(["name", "gene_id"], axis=1)

    symbols, approved = pairs_of("symbol"), pairs_of("hgnc_symbol")
    approved = approved[approved["name"] != ""]
    refseq = symbols.assign(name=symbols["name"].map(REFSEQ)).dropna()
    sources = [symbols, approved, refseq, pairs_of("previous_symbols"), pairs_of("alias_symbols")]
    known, ambiguous, unique = set(), set(), []
    for source, pairs in enumerate(sources):
        pairs = pairs[~pairs["name"].isin(known)].drop_duplicates()
        known |= set(pairs["name"])
        shared = pairs["name"].duplicated(keep=False)
        unique.append(pairs[~shared])
        tied = pairs[shared]
        if source == 0:
            settled = tied.merge(approved, on=["name", "gene_id"]).drop_duplicates("name", keep=False)
            unique.append(settled)
            tied = tied[~tied["name"].isin(settled["name"])]
        ambiguous |= set(tied["name"])
    return GeneNames(pd.concat(unique).set_index("name")["gene_id"], frozenset(ambiguous))

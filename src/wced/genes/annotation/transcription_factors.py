"""Structural superclass of transcription factors: from TFClass, or from JASPAR's classes and HGNC's gene names."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.files import existing
from wced.genes.annotation.patterns import fits, packaged, read_table
from wced.genes.annotation.references import gene_ids
from wced.genes.names import GeneNames

TF_TERM = "GO:0003700"
"""DNA-binding transcription factor activity."""

_JASPAR_CLASSES = """
SELECT DISTINCT matrix.NAME AS name, annotation.VAL AS tf_class FROM MATRIX AS matrix
JOIN MATRIX_SPECIES AS species ON species.ID = matrix.ID AND species.TAX_ID = '9606'
JOIN MATRIX_ANNOTATION AS annotation ON annotation.ID = matrix.ID AND annotation.TAG = 'class'
"""


def read_tfclass(path: str | Path) -> pd.DataFrame:
    """Read TFClass: gene_id (from its Ensembl cross-references) and superclass, the first number of a factor's id.

    A gene with factors in several superclasses, a handful, is given the lowest number.
    """
    found, term = [], ""
    try:
        with existing(path, "TFClass (OBO)").open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("id: "):
                    term = line[4:].strip()
                elif line.startswith("xref: ENSEMBL:"):
                    found.append((line[14:].split()[0], term.partition(".")[0]))
    except UnicodeDecodeError as failure:
        raise WcedError(f"{path}: cannot be read as TFClass (OBO): {failure}") from None
    if not found:
        raise WcedError(f"{path}: has no cross-reference to Ensembl; expected TFClass (OBO)")
    return pd.DataFrame(found, columns=["gene_id", "superclass"]).groupby("gene_id", as_index=False).min()


def read_jaspar(path: str | Path) -> pd.DataFrame:
    """Read the human factors of JASPAR: name and tf_class, as often as there are pairs.

    Dimers (`A::B`) are left out, since a class is not that of one partner.
    """
    path = existing(path, "the JASPAR database (SQLite)")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(_JASPAR_CLASSES).fetchall()
    except sqlite3.DatabaseError as failure:
        raise WcedError(f"{path}: cannot be read as the JASPAR database: {failure}") from None
    factors = pd.DataFrame(rows, columns=["name", "tf_class"], dtype=object)
    factors = factors[~factors["name"].str.contains("::", regex=False)]
    # Further profiles of one factor are told apart by a suffix.
    return factors.assign(name=factors["name"].str.replace(r"\(var\.\d+\)$", "", regex=True))


def superclasses(factors: pd.DataFrame, names: GeneNames, hgnc_name: pd.Series, is_factor: pd.Series) -> pd.DataFrame:
    """Return the superclass of genes by JASPAR's class, else, of genes that GO calls factors, by HGNC's name.

    Parameters
    ----------
    factors
        What `read_jaspar` returns.
    names
        Names of genes.
    hgnc_name
        HGNC's name of each gene (`zinc finger protein 8`), indexed by Ensembl id.
    is_factor
        Whether GO calls the gene a transcription factor (TF_TERM), with the same index.

    Returns
    -------
    pd.DataFrame
        gene_id (each once), superclass.
    """
    table = read_table(
        packaged("tf_superclasses.tsv"), "a table of superclasses",
        ("source", "pattern", "superclass", "superclass_name"),
    )  # fmt: skip
    by_class = pd.DataFrame(
        {
            "gene_id": gene_ids(factors["name"].to_numpy(), names),
            "superclass": _first_fit(factors["tf_class"], table[table["source"] == "jaspar_class"]),
        }
    )
    named = hgnc_name[is_factor]
    by_name = pd.DataFrame(
        {"gene_id": named.index, "superclass": _first_fit(named, table[table["source"] == "hgnc_name"])}
    )
    both = pd.concat([by_class.sort_values(["gene_id", "superclass"]), by_name])
    both = both[(both["gene_id"] != "") & (both["superclass"] != "")]
    return both.drop_duplicates("gene_id", ignore_index=True)


def _first_fit(texts: pd.Series, table: pd.DataFrame) -> np.ndarray:
    """Return the superclass of the first pattern that each text fits, the empty string for none."""
    found = np.full(len(texts), "", dtype=object)
    for pattern, superclass in zip(table["pattern"], table["superclass"], strict=True):
        found[(found == "") & fits(texts, [pattern])] = superclass
    return found

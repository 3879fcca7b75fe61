"""Structural superclass of transcription factors: from TFClass, or from JASPAR's classes and HGNC's gene names."""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from fnmatch import translate
from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.files import existing
from wced.genes.annotation.go import GeneOntology, read_obo
from wced.genes.annotation.references import Universe, gene_ids
from wced.genes.names import GeneNames
from wced.tables import read_text

DATA = Path(__file__).with_name("data")
"""The package's own tables."""
TF_TERM = "GO:0003700"
"""DNA-binding transcription factor activity."""

_JASPAR_CLASSES = """
SELECT DISTINCT matrix.NAME AS name, annotation.VAL AS tf_class FROM MATRIX AS matrix
JOIN MATRIX_SPECIES AS species ON species.ID = matrix.ID AND species.TAX_ID = '9606'
JOIN MATRIX_ANNOTATION AS annotation ON annotation.ID = matrix.ID AND annotation.TAG = 'class'
"""


def fits(texts: pd.Series, patterns: Sequence[str]) -> np.ndarray:
    """Return which texts fit any of the patterns (`*` any text, `[0-9]` a digit), bool (len(texts),)."""
    if not patterns:
        return np.zeros(len(texts), dtype=bool)
    either = re.compile("|".join(map(translate, patterns)))
    return np.array([either.match(text) is not None for text in texts], dtype=bool)


def read_tfclass(path: str | Path) -> pd.DataFrame:
    """Read TFClass: gene_id (from its Ensembl cross-references) and superclass, the first number of a factor's id.

    A gene with factors in several superclasses, a handful, has the lowest number.
    """
    tags = read_obo(path, "TFClass (OBO)")
    rows = [
        (value.removeprefix("ENSEMBL:").split()[0], term.partition(".")[0])
        for term, tag, value in tags
        if tag == "xref" and value.startswith("ENSEMBL:")
    ]
    if not rows:
        raise WcedError(f"{path}: has no cross-reference to Ensembl; expected TFClass (OBO)")
    return pd.DataFrame(rows, columns=["gene_id", "superclass"]).groupby("gene_id", as_index=False).min()


def read_jaspar(path: str | Path) -> pd.DataFrame:
    """Read the human factors of JASPAR: pairs of name and tf_class, without dimers (`A::B`), which are of two genes."""
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
    """Return gene_id and superclass: by JASPAR's class, else, if GO calls the gene a factor, by HGNC's name.

    `hgnc_name` (`zinc finger protein 8`) and `is_factor`, whether a gene has TF_TERM, are indexed by Ensembl id.
    """
    patterns = read_text(DATA / "tf_superclasses.tsv", "a table of superclasses", comment="#")

    def frame(ids: np.ndarray | pd.Index, texts: pd.Series, source: str) -> pd.DataFrame:
        superclass = np.full(len(texts), "", dtype=object)
        for row in patterns[patterns["source"] == source].itertuples():
            superclass[(superclass == "") & fits(texts, [row.pattern])] = row.superclass
        return pd.DataFrame({"gene_id": ids, "superclass": superclass})

    by_class = frame(gene_ids(factors["name"].to_numpy(), names), factors["tf_class"], "jaspar_class")
    hgnc_name = hgnc_name[is_factor]
    by_name = frame(hgnc_name.index, hgnc_name, "hgnc_name")
    both = pd.concat([by_class.sort_values(["gene_id", "superclass"]), by_name])
    both = both[(both["gene_id"] != "") & (both["superclass"] != "")]
    return both.drop_duplicates("gene_id", ignore_index=True)


def superclass_of_genes(universe: Universe, terms: GeneOntology, hgnc: str | Path) -> np.ndarray:
    """Return the TFClass superclass of each gene as text, the empty string for none; object (genes,)."""
    if universe.settings.tfclass is not None:
        table, facts = universe.read("tfclass", read_tfclass)
        source, text = "TFClass", "superclass of the factor"
        unmapped = ~table["gene_id"].isin(universe.table["gene_id"])
    else:
        profiles, facts = universe.read("jaspar", read_jaspar)
        is_factor = pd.Series(terms.has(TF_TERM), index=universe.gene_id)
        hgnc_name = read_hgnc_names(hgnc).reindex(universe.gene_id, fill_value="")
        table = superclasses(profiles, universe.names, hgnc_name, is_factor)
        source = "JASPAR and HGNC"
        text = f"class of the factor in JASPAR, else HGNC's name of genes of {TF_TERM}, by tf_superclasses.tsv"
        unmapped = gene_ids(pd.unique(profiles["name"]), universe.names) == ""
    superclass_g = table.set_index("gene_id")["superclass"].reindex(universe.gene_id, fill_value="")
    facts |= {"names": len(unmapped), "names_unmapped": unmapped.sum()}
    universe.note("tf_superclass", source, text, genes=superclass_g != "", **facts)
    return superclass_g.to_numpy(dtype=object)


def read_hgnc_names(path: str | Path) -> pd.Series:
    """Return HGNC's name (`zinc finger protein 8`) of every approved gene, indexed by Ensembl id."""
    frame = read_text(path, "the HGNC complete set", usecols=["name", "status", "ensembl_gene_id"])
    frame = frame[(frame["status"] == "Approved") & (frame["ensembl_gene_id"] != "")]
    return frame.drop_duplicates("ensembl_gene_id").set_index("ensembl_gene_id")["name"]

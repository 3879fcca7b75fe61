"""Functional family of a gene: the first row of a table of rules that it matches (BMFM-RNA paper, section 9.1)."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.genes.annotation.go import GeneOntology
from wced.genes.annotation.patterns import fits, packaged, read_table

COLUMNS = ("row", "family", "go", "symbol", "not_symbol", "tf_superclass", "published_genes", "reading")
"""Columns of a table of family rules; data/families.tsv says what each means."""


def read_families(path: str | Path | None = None) -> pd.DataFrame:
    """Read a table of family rules, the package's own by default.

    Returns
    -------
    pd.DataFrame
        One row per family, first come first served: row, family, go, symbol, not_symbol and tf_superclass (lists of
        texts), published_genes (float, NaN where empty), reading.

    Raises
    ------
    WcedError
        Naming the file and the row, if a family has no rule or stands there twice, a term is no GO id, or a count is
        no whole number.
    """
    path = packaged("families.tsv") if path is None else Path(path)
    rules = read_table(path, "a table of family rules", COLUMNS)
    if rules.empty:
        raise WcedError(f"{path}: has no rules")
    for column in ("row", "family"):
        if (twice := rules[column].duplicated()).any():
            raise WcedError(f"{path}: {column} {rules[column][twice].iloc[0]!r} stands there twice")
    for column in ("go", "symbol", "not_symbol", "tf_superclass"):
        rules[column] = rules[column].str.split()
    for rule in rules.itertuples():
        if not rule.row or not rule.family:
            raise WcedError(f"{path}: a rule has no row or no family")
        if not (rule.go or rule.symbol or rule.tf_superclass):
            raise WcedError(f"{path}: row {rule.row} has neither go nor symbol nor tf_superclass")
        if odd := [term for term in rule.go if not re.fullmatch(r"GO:\d{7}", term)]:
            raise WcedError(f"{path}: row {rule.row}: {odd[0]!r} is no GO id")
        if not re.fullmatch(r"\d*", rule.published_genes):
            raise WcedError(f"{path}: row {rule.row}: published_genes {rule.published_genes!r} is no whole number")
    return rules.assign(published_genes=pd.to_numeric(rules["published_genes"]).astype(float))


def rule_text(rules: pd.DataFrame) -> pd.Series:
    """Return each rule in one line, for readers."""

    def text(rule: pd.Series) -> str:
        parts = [" or ".join(rule["go"]), " or ".join(rule["symbol"])]
        parts.append(f"TFClass superclass {' or '.join(rule['tf_superclass'])}" if rule["tf_superclass"] else "")
        taken = " or ".join(part for part in parts if part)
        return taken + (f", not {' or '.join(rule['not_symbol'])}" if rule["not_symbol"] else "")

    return rules.apply(text, axis=1)


def assign(rules: pd.DataFrame, symbol_g: pd.Series, ontology: GeneOntology, superclass_g: np.ndarray) -> np.ndarray:
    """Return which rule takes each gene: its position among `rules`, int (genes,).

    Parameters
    ----------
    rules
        What `read_families` returns.
    symbol_g
        Current symbol of each gene.
    ontology
        Which genes are annotated with what, the same genes in the same order.
    superclass_g
        TFClass superclass of each gene as text, the empty string for none.

    Raises
    ------
    WcedError
        If no rule takes some gene: the last one should take all (symbol `*`).
    """
    matches_gr = np.zeros((len(symbol_g), len(rules)), dtype=bool)
    for place, rule in enumerate(rules.itertuples()):
        taken_g = fits(symbol_g, rule.symbol) | np.isin(superclass_g, rule.tf_superclass)
        for term in rule.go:
            taken_g |= ontology.has(term)
        matches_gr[:, place] = taken_g & ~fits(symbol_g, rule.not_symbol)
    if (left := ~matches_gr.any(axis=1)).any():
        raise WcedError(
            f"family rules: {left.sum()} genes match no row, {symbol_g[left].iloc[0]} the first; "
            "give a last row with symbol *"
        )
    return matches_gr.argmax(axis=1)

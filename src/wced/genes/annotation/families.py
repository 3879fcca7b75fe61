"""Functional family of a gene: the first row of a table of rules that it matches (BMFM-RNA paper, section 9.1)."""

import re
from collections.abc import Sequence
from fnmatch import translate
from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.genes.annotation.go import GeneOntology
from wced.tables import read_text

COLUMNS = ("row", "family", "go", "symbol", "not_symbol", "tf_superclass", "published_genes", "reading")
"""Columns of a table of family rules; data/families.tsv says what each means."""


DATA = Path(__file__).with_name("data")
"""The package's own tables."""


def fits(texts: pd.Series, patterns: Sequence[str]) -> np.ndarray:
    """Return which texts fit any of the patterns (`*` any text, `[0-9]` a digit), bool (len(texts),)."""
    if not patterns:
        return np.zeros(len(texts), dtype=bool)
    either = re.compile("|".join(map(translate, patterns)))
    return np.array([either.match(text) is not None for text in texts], dtype=bool)


def read_families(path: str | Path = DATA / "families.tsv") -> pd.DataFrame:
    """Return a table of family rules (TSV with comments after #), a row per family, the first that matches wins.

    Columns go, symbol, not_symbol and tf_superclass are lists of texts, published_genes is float, NaN where empty.
    WcedError if a family has no rule or two rows, a term is no GO id, or a count is no whole number.
    """
    rules = read_text(path, "a table of family rules", COLUMNS, comment="#")
    if unknown := [column for column in rules.columns if column not in COLUMNS]:
        raise WcedError(f"{path}: column {unknown[0]} is not known; expected a table of family rules")
    if rules.empty:
        raise WcedError(f"{path}: has no rules")
    for column in ("row", "family"):
        if (repeated := rules[column].duplicated()).any():
            raise WcedError(f"{path}: {column} {rules[column][repeated].iloc[0]!r} is duplicated")
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


def rule_text(rules: pd.DataFrame) -> list[str]:
    """Return each rule in one line, for readers."""
    texts = []
    for rule in rules.itertuples():
        parts = [*rule.go, *rule.symbol]
        if rule.tf_superclass:
            parts.append(f"TFClass superclass {' or '.join(rule.tf_superclass)}")
        texts.append(" or ".join(parts) + (f", not {' or '.join(rule.not_symbol)}" if rule.not_symbol else ""))
    return texts


def assign(rules: pd.DataFrame, symbol_g: pd.Series, ontology: GeneOntology, superclass_g: np.ndarray) -> np.ndarray:
    """Return which rule takes each gene: its position among the rules, int (genes,).

    Genes have a current symbol, GO terms, and as text a TFClass superclass, empty for none. WcedError if no rule takes
    some gene: the last one should take all (symbol `*`).
    """
    matches_gr = np.zeros((len(symbol_g), len(rules)), dtype=bool)
    for position, rule in enumerate(rules.itertuples()):
        taken_g = fits(symbol_g, rule.symbol) | np.isin(superclass_g, rule.tf_superclass)
        for term in rule.go:
            taken_g |= ontology.has(term)
        matches_gr[:, position] = taken_g & ~fits(symbol_g, rule.not_symbol)
    if (left := ~matches_gr.any(axis=1)).any():
        raise WcedError(
            f"family rules: {left.sum()} genes match no row, {symbol_g[left].iloc[0]} the first; "
            "give a last row with symbol *"
        )
    return matches_gr.argmax(axis=1)

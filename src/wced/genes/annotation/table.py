"""The annotation of all protein-coding genes: family, program, the sources of its columns, and sizes of its groups."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wced.config.annotation import Annotation
from wced.errors import WcedError
from wced.files import sha256
from wced.genes.annotation import expression
from wced.genes.annotation.go import GeneOntology, ontology
from wced.genes.annotation.references import Universe, gene_ids
from wced.genes.annotation.transcription_factors import DATA, fits, superclass_of_genes
from wced.tables import GENE_ANNOTATION, GENE_GROUPS, checked, read_text

COLUMNS = ("row", "family", "go", "symbol", "not_symbol", "tf_superclass", "published_genes", "reading")
"""Columns of a table of family rules; described in data/families.tsv."""
DISSOCIATION_TERMS = ("GO:0009408", "GO:0006986")
"""Response to heat, response to unfolded protein."""
CELL_CYCLE_TERM = "GO:0007049"
"""Cell cycle."""
NAMED_CORE = ("FOS", "JUN", "EGR1", "ATF3", "HSPA1A", "HSPA1B")
"""Core immediate early genes of dissociation that the paper names, of the 15 of van den Brink et al. 2017."""
PROGRAMS = {
    "dissociation": 154,
    "cell_cycle": 210,
    "constitutive": 3338,
    "identity": 3373,
    "unassigned": 11952,
}
"""Programs in the order of the decision tree (BMFM-RNA paper, section 9.2), each with the paper's number of genes."""
RULES = (
    f"core immediate early genes, {' or '.join(DISSOCIATION_TERMS)}; not identity",
    f"{CELL_CYCLE_TERM}; not identity",
    "housekeeping",
    "cell type enriched or group enriched",
    "all others",
)
"""What makes a gene one of each program, when none before it has taken it."""


@dataclass(frozen=True)
class Annotated:
    """Tables that `annotate` returns."""

    genes: pd.DataFrame
    """Rows of tables.GENE_ANNOTATION."""
    sources: pd.DataFrame
    """Rows of tables.GENE_ANNOTATION_SOURCES."""
    groups: pd.DataFrame
    """Rows of tables.GENE_GROUPS."""


def annotate(settings: Annotation, table: pd.DataFrame, hgnc: str | Path, folder: str | Path) -> Annotated:
    """Annotate every protein-coding gene of a gene table with its functional family and its expression program.

    `hgnc` is the HGNC complete set (plain or gzipped TSV), `folder` that of the downloaded archives and files.
    WcedError if a file is missing or of another form, or a rule names an unknown term.
    """
    universe = Universe(settings, folder, table)
    symbol_g = universe.coding["symbol"]
    universe.note("gene_symbol", "gene table", "GENCODE's symbol of genes that GENCODE and HGNC call protein-coding")
    rules_path = Path(settings.families or DATA / "families.tsv")
    rules = read_families(rules_path)
    text = "each gene has the first row that it matches"
    universe.note("family", "family rules", text, version=rules_path.name, sha256=sha256(rules_path))
    terms = ontology(universe)
    superclass_g = superclass_of_genes(universe, terms, hgnc)
    rule_g = families(rules, symbol_g, terms, superclass_g)
    expression_gt, by_tissue = expression.breadth(universe, "tissue")
    expression_gc, by_cell_type = expression.breadth(universe, "cell_type")
    category_g, identity_g = expression.cell_type_specificity(universe, expression_gc)
    member_g = {
        "dissociation": dissociation(universe, terms),
        "cell_cycle": terms.has(CELL_CYCLE_TERM),
        "housekeeping": expression.constitutive(universe, expression_gt),
        "identity": identity_g,
    }
    facts = {"genes": member_g["cell_cycle"], "version": terms.graph.version}
    universe.note("cell_cycle", "Gene Ontology", CELL_CYCLE_TERM, **facts)
    proxies = "; ".join(name for name in member_g if universe.is_proxy(name))
    text = "; ".join(f"{group}: {rule}" for group, rule in zip(PROGRAMS, RULES, strict=True))
    universe.note("program", "decision tree", text, proxy=bool(proxies))
    genes = pd.DataFrame(
        {
            "gene_id": universe.gene_id,
            "gene_symbol": symbol_g,
            "family_row": rules["row"].to_numpy()[rule_g],
            "family": rules["family"].to_numpy()[rule_g],
            "program": programs(**member_g),
            "program_is_proxy": bool(proxies),
            "proxies": proxies,
            "tf_superclass": superclass_g,
            **member_g,
            **by_tissue,
            **by_cell_type,
            "cell_type_specificity": category_g,
        }
    )
    return Annotated(checked(genes, GENE_ANNOTATION), universe.sources(), _groups(genes, rules, proxies))


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


def families(rules: pd.DataFrame, symbol_g: pd.Series, ontology: GeneOntology, superclass_g: np.ndarray) -> np.ndarray:
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


def dissociation(universe: Universe, terms: GeneOntology) -> np.ndarray:
    """Return which genes respond to dissociation, bool (genes,)."""
    by_term_g = np.any([terms.has(term) for term in DISSOCIATION_TERMS], axis=0)
    text = " or ".join(DISSOCIATION_TERMS)
    universe.note("dissociation", "Gene Ontology", text, genes=by_term_g, version=terms.graph.version)
    if universe.settings.dissociation is not None:
        return by_term_g | universe.listed("dissociation", "list of core immediate early genes")
    core = gene_ids(np.array(NAMED_CORE, dtype=object), universe.names)
    core_g = universe.gene_id.isin(core)
    text = f"proxy: {', '.join(NAMED_CORE)}, the core immediate early genes that its text names, of 15"
    facts = {"genes": core_g, "proxy": True, "names": len(core), "names_unmapped": (core == "").sum()}
    universe.note("dissociation", "BMFM-RNA paper", text, **facts)
    return by_term_g | core_g


def programs(
    dissociation: np.ndarray, cell_cycle: np.ndarray, housekeeping: np.ndarray, identity: np.ndarray
) -> np.ndarray:
    """Return the program of each gene, text (genes,), from its membership in four sets, each bool (genes,).

    The first set with the gene decides, but dissociation and cell cycle have no gene that marks a cell type.
    """
    sets = [dissociation & ~identity, cell_cycle & ~identity, housekeeping, identity]
    return np.select(sets, list(PROGRAMS)[:4], "unassigned").astype(object)


def _groups(genes: pd.DataFrame, rules: pd.DataFrame, proxies: str) -> pd.DataFrame:
    """Return the size of every family and program beside the published one."""
    by_family = rules[["row", "published_genes", "reading"]].assign(
        axis="family", group=rules["family"], rule=rule_text(rules)
    )
    by_program = pd.DataFrame(
        {
            "axis": "program",
            "row": [str(number) for number, _ in enumerate(PROGRAMS, start=1)],
            "group": list(PROGRAMS),
            "published_genes": [float(n) for n in PROGRAMS.values()],
            "rule": RULES,
            "reading": f"proxy: {proxies}" if proxies else "",
        }
    )
    frames = [
        groups.assign(genes=groups["group"].map(genes[groups["axis"].iloc[0]].value_counts()).fillna(0).astype(int))
        for groups in (by_family, by_program)
    ]
    return checked(pd.concat(frames, ignore_index=True), GENE_GROUPS)

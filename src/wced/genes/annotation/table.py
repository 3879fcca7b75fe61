"""The annotation of all protein-coding genes, where each of its columns comes from, and the sizes of its groups."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wced.config.annotation import Annotation
from wced.files import sha256
from wced.genes.annotation import families, programs, sets
from wced.genes.annotation.patterns import packaged
from wced.genes.annotation.universe import Universe
from wced.tables import GENE_ANNOTATION, GENE_GROUPS, checked


@dataclass(frozen=True)
class Annotated:
    """What `annotate` makes."""

    genes: pd.DataFrame
    """Rows of tables.GENE_ANNOTATION."""
    sources: pd.DataFrame
    """Rows of tables.GENE_ANNOTATION_SOURCES."""
    groups: pd.DataFrame
    """Rows of tables.GENE_GROUPS."""


def annotate(settings: Annotation, table: pd.DataFrame, hgnc: str | Path, folder: str | Path) -> Annotated:
    """Annotate every protein-coding gene with its functional family and its expression program.

    Parameters
    ----------
    settings
        Which files say so.
    table
        The gene table.
    hgnc
        The HGNC complete set (plain or gzipped TSV).
    folder
        Folder of the downloaded archives and files.

    Raises
    ------
    WcedError
        If a file is missing or of another form, or a rule names an unknown term.
    """
    universe = Universe(settings, folder, table)
    symbol_g = universe.coding["symbol"]
    universe.note("gene_symbol", "gene table", "GENCODE's symbol of genes that GENCODE and HGNC call protein-coding")
    rules_path = packaged("families.tsv") if settings.families is None else Path(settings.families)
    rules = families.read_families(rules_path)
    text = "each gene has the first row that it matches"
    universe.note("family", "family rules", text, version=rules_path.name, sha256=sha256(rules_path))
    terms = sets.ontology(universe)
    superclass_g = sets.superclasses(universe, terms, hgnc)
    place_g = families.assign(rules, symbol_g, terms, superclass_g)
    expression_gt, by_tissue = sets.breadth(universe, "tissue")
    expression_gc, by_cell_type = sets.breadth(universe, "cell_type")
    category_g, identity_g = sets.cell_type_specificity(universe, expression_gc)
    member_g = {
        "dissociation": sets.dissociation(universe, terms),
        "cell_cycle": sets.cell_cycle(universe, terms),
        "housekeeping": sets.housekeeping(universe, expression_gt),
        "identity": identity_g,
    }
    proxies = "; ".join(name for name in member_g if universe.is_proxy(name))
    text = "; ".join(f"{group}: {rule}" for group, rule in zip(programs.PROGRAMS, programs.RULES, strict=True))
    universe.note("program", "decision tree", text, proxy=bool(proxies))
    genes = pd.DataFrame(
        {
            "gene_id": universe.gene_id,
            "gene_symbol": symbol_g,
            "family_row": rules["row"].to_numpy()[place_g],
            "family": rules["family"].to_numpy()[place_g],
            "program": programs.assign(**member_g),
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


def _groups(genes: pd.DataFrame, rules: pd.DataFrame, proxies: str) -> pd.DataFrame:
    """Return the size of every family and program beside the published one."""
    by_family = pd.DataFrame(
        {
            "axis": "family",
            "row": rules["row"],
            "group": rules["family"],
            "published_genes": rules["published_genes"],
            "rule": families.rule_text(rules),
            "reading": rules["reading"],
        }
    )
    by_program = pd.DataFrame(
        {
            "axis": "program",
            "row": [str(place) for place in range(1, len(programs.PROGRAMS) + 1)],
            "group": list(programs.PROGRAMS),
            "published_genes": [float(n) for n in programs.PROGRAMS.values()],
            "rule": programs.RULES,
            "reading": f"proxy: {proxies}" if proxies else "",
        }
    )
    frames = [
        groups.assign(genes=groups["group"].map(genes[axis].value_counts()).fillna(0).astype(int))
        for axis, groups in (("family", by_family), ("program", by_program))
    ]
    return checked(pd.concat(frames, ignore_index=True), GENE_GROUPS)

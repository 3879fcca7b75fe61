"""Minute files of the databases that gene annotation reads, in the formats of the real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wced.genes.annotation.table import CELL_CYCLE_TERM, DISSOCIATION_TERMS, read_families


def write_annotation(folder: Path, genes: pd.DataFrame) -> dict[str, Any]:
    """Write every file of the config section `annotation` and return the section.

    Each term of the family rules and of the programs has one child, with which a few of the protein-coding genes are
    annotated. Every fifth gene is in the list of housekeeping genes, every fourth is enriched in one cell type.
    """
    terms = sorted({term for row in read_families()["go"] for term in row} | {CELL_CYCLE_TERM, *DISSOCIATION_TERMS})
    blocks = ["format-version: 1.2\ndata-version: releases/test\n", "[Term]\nid: GO:9999999\nname: root\n"]
    blocks += [f"[Term]\nid: {term}\nname: {term}\nis_a: GO:9999999 ! root\n" for term in terms]
    blocks += [f"[Term]\nid: GO:8{i:06d}\nname: child\nis_a: {term} ! parent\n" for i, term in enumerate(terms)]
    (folder / "go.obo").write_text("\n".join([*blocks, "[Typedef]\nid: part_of\nname: part of\n"]))
    annotated = pd.DataFrame({"gene": genes["symbol"], "GO": [f"GO:8{i % len(terms):06d}" for i in range(len(genes))]})
    # The last third of the genes has no term.
    annotated[: 2 * len(genes) // 3].assign(ONTOLOGY="MF").to_csv(folder / "goanno.tsv", sep="\t", index=False)
    factors = [
        f'[Term]\nid: {1 + i % 3}.1.1.0.{i}\nxref: ENSEMBL:{gene} "x"\n'
        for i, gene in enumerate(genes["gene_id"][::30])
    ]
    (folder / "tfclass.obo").write_text("format-version: 1.2\n\n" + "\n".join(factors))
    rng = np.random.default_rng(0)
    expression = pd.DataFrame({"Ensembl_Gene_ID": genes["gene_id"], "Symbol": genes["symbol"]})
    for kind, prefix in (("tissue", "nTPM_"), ("cell_type", "")):
        values = pd.DataFrame({f"{prefix}{kind}_{i}": rng.uniform(10, 30, len(genes)) for i in range(4)})
        if kind == "cell_type":
            values.iloc[3::4, 0] *= 20
        pd.concat([expression, values], axis=1).to_csv(folder / f"{kind}.csv", index=False)
    (folder / "housekeeping.txt").write_text("".join(f"{symbol}\tNM_1\n" for symbol in genes["symbol"][::5]))
    files = {
        "go_graph": "go.obo",
        "go_annotation": "goanno.tsv",
        "tfclass": "tfclass.obo",
        "tissue_expression": "tissue.csv",
        "cell_type_expression": "cell_type.csv",
        "housekeeping": "housekeeping.txt",
    }
    return {name: {"path": str(folder / file)} for name, file in files.items()}

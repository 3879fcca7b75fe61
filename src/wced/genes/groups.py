"""Named groups of genes: technical ones by their symbols, any other by a table."""

import re
from pathlib import Path

import numpy as np

from wced.config.gene_groups import PATTERNS
from wced.errors import WcedError
from wced.genes.names import without_version
from wced.tables import read_text


def gene_group(name: str, gene_ids: tuple[str, ...], symbols: tuple[str, ...], tables: dict[str, str]) -> np.ndarray:
    """Return which genes belong to a group; bool, (genes,).

    Parameters
    ----------
    name
        One of `PATTERNS`, or a key of `tables`, which comes first.
    gene_ids, symbols
        Ensembl ids and symbols of the genes.
    tables
        By the name of a group: path of a TSV with a column `gene_id`.

    Raises
    ------
    WcedError
        If there is no such group, or its table has no gene of these.

    Examples
    --------
    >>> gene_group("mitochondrial", ("ENSG00000198804", "ENSG00000010610"), ("MT-CO1", "CD4"), {}).tolist()
    [True, False]
    """
    if name in tables:
        path = Path(tables[name])
        frame = read_text(path, f"the gene group {name}")
        if "gene_id" not in frame:
            raise WcedError(f"{path}: a gene group has the column gene_id")
        member_v = np.isin(gene_ids, without_version(frame["gene_id"].to_numpy(dtype=object)))
        if not member_v.any():
            raise WcedError(f"{path}: none of its {len(frame)} genes is in the vocabulary")
        return member_v
    if name not in PATTERNS:
        known = ", ".join([*PATTERNS, *tables])
        raise WcedError(f"gene group {name}: not known; known are {known}, and input.gene_groups can add others")
    pattern = re.compile(PATTERNS[name])
    return np.array([pattern.fullmatch(symbol) is not None for symbol in symbols], dtype=bool)

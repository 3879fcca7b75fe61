"""Expression program of a gene: a decision tree over four sets of genes (BMFM-RNA paper, section 9.2)."""

import numpy as np

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
"""The programs in the order of the tree, and how many genes the paper has in each, of 19,027."""

RULES = (
    f"core immediate early genes, {' or '.join(DISSOCIATION_TERMS)}; not identity",
    f"{CELL_CYCLE_TERM}; not identity",
    "housekeeping",
    "cell type enriched or group enriched",
    "all others",
)
"""What makes a gene one of each program, when none before it has taken it."""


def assign(
    dissociation: np.ndarray, cell_cycle: np.ndarray, housekeeping: np.ndarray, identity: np.ndarray
) -> np.ndarray:
    """Return the program of each gene, text (genes,), from which sets it is in, each bool (genes,).

    The first of dissociation, cell cycle, housekeeping (constitutive) and identity that has the gene decides, but
    dissociation and cell cycle have no gene that marks a cell type.
    """
    sets = [dissociation & ~identity, cell_cycle & ~identity, housekeeping, identity]
    return np.select(sets, list(PROGRAMS)[:4], "unassigned").astype(object)

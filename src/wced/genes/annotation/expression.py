"""What expression by tissue and by cell type (Human Protein Atlas) says of a gene: specificity, breadth, steadiness."""

from pathlib import Path

import numpy as np
import pandas as pd

from wced.errors import WcedError
from wced.genes.annotation.references import Universe, version
from wced.tables import read_text

DETECTED = 1.0
"""nTPM from which HPA calls a gene detected."""
FOLD, GROUP = 4.0, 10
"""HPA's rule of specificity: times that expression must be above all other cell types, and the largest group."""
ENRICHED, GROUP_ENRICHED, NOT_DETECTED, OTHER = (
    "Cell type enriched",
    "Group enriched",
    "Not detected",
    "Neither enriched nor group enriched",
)
"""Categories of cell type specificity; the first three are HPA's words."""
HOUSEKEEPING_SHARE = 0.2
"""Share of genes in the proxy of housekeeping: about that of the list of Eisenberg & Levanon (3,804 genes)."""
HOUSEKEEPING_RULE = (
    f"proxy: the {HOUSEKEEPING_SHARE:.0%} of genes with the smallest sum of two ranks over tissues, of the standard "
    "deviation of log2 expression (ascending) and of the lowest expression (descending); tuned: of some 50 variants, "
    "the one nearest to the list of Eisenberg & Levanon 2013; with the default expression it shares 2597 of its 3777 "
    "genes (69%) with the 3761 protein-coding ones of the list"
)
"""The proxy in words."""
SPECIFICITY_RULE = (
    f"proxy: HPA's rule applied to cell type expression: {FOLD:g} times that of any other cell type, in one or in each "
    f"of a group of up to {GROUP}, and at least {DETECTED:g} nTPM"
)
"""The proxy of HPA's category in words."""


def read_expression(path: str | Path) -> pd.DataFrame:
    """Return expression by tissue or cell type: nTPM, float64 (genes, tissues or cell types), indexed by Ensembl id.

    The CSV has the column Ensembl_Gene_ID; columns `nTPM_*` are read, or without any all but Symbol. Genes with an
    empty value are left out. WcedError for another form, two rows for a gene, a negative number, fewer than two
    columns, or one without expression.
    """
    what = "expression by tissue or cell type (CSV)"
    frame = read_text(path, what, ["Ensembl_Gene_ID"], sep=",", dtype=None, keep_default_na=True)
    frame = frame.set_index("Ensembl_Gene_ID").drop(columns="Symbol", errors="ignore")
    chosen = [name for name in frame.columns if name.startswith("nTPM_")] or list(frame.columns)
    if frame.index.has_duplicates:
        raise WcedError(f"{path}: gene {frame.index[frame.index.duplicated()][0]} has two rows")
    if len(chosen) < 2:
        raise WcedError(f"{path}: has {len(chosen)} columns of expression, but two are needed to compare")
    try:
        expression = frame[chosen].astype("float64").dropna()
    except ValueError as failure:
        raise WcedError(f"{path}: expression is not made of numbers: {failure}") from None
    if (expression.to_numpy() < 0).any():
        raise WcedError(f"{path}: expression is negative")
    if (empty := expression.sum() == 0).any():
        raise WcedError(f"{path}: {empty.idxmax()} has no expression at all")
    return expression


def tau(expression_gt: pd.DataFrame) -> pd.Series:
    r"""Return the tau index of specificity of each gene: 0 for even expression, 1 for one tissue only.

    .. math:: \tau = \frac{\sum_t (1 - x_t / \max_t x_t)}{T - 1}, \quad x = \log_2(1 + \mathrm{nTPM})

    (Yanai et al. 2005, on logarithms as Kryuchkova-Mostacci & Robinson-Rechavi 2017.) NaN for a gene without any
    expression.
    """
    log_gt = np.log2(1 + expression_gt)
    top_g = log_gt.max(axis=1)
    return (log_gt.shape[1] - log_gt.sum(axis=1) / top_g.where(top_g > 0)) / (log_gt.shape[1] - 1)


def detected(expression_gt: pd.DataFrame) -> pd.Series:
    """Return the number of tissues or cell types in which each gene has at least 1 nTPM."""
    return (expression_gt >= DETECTED).sum(axis=1)


def specificity(expression_gc: pd.DataFrame) -> pd.Series:
    """Return the category of cell type specificity of each gene, by HPA's rule.

    Enriched: in one cell type at least four times that of any other, and at least 1 nTPM. Group enriched: the same for
    each of a group of 2 to 10 cell types against any other (Karlsson et al. 2021; proteinatlas.org).
    """
    sorted_gc = -np.sort(-expression_gc.to_numpy(), axis=1)
    # Column k - 1: whether the k highest cell types are all far above the next. Without expression none is above.
    most = min(GROUP, sorted_gc.shape[1] - 1)
    above_gk = (sorted_gc[:, :most] >= FOLD * sorted_gc[:, 1 : most + 1]) & (sorted_gc[:, :most] > 0)
    kinds = [sorted_gc[:, 0] < DETECTED, above_gk[:, 0], above_gk[:, 1:].any(axis=1)]
    words = np.select(kinds, [NOT_DETECTED, ENRICHED, GROUP_ENRICHED], OTHER)
    return pd.Series(words, index=expression_gc.index, dtype=object)


def housekeeping(expression_gt: pd.DataFrame) -> pd.Index:
    """Return the genes that are expressed in all tissues most highly and most evenly (HOUSEKEEPING_RULE).

    Each tissue is first scaled to a sum of a million, since HPA's columns differ eightfold. Ties go by Ensembl id.
    """
    scaled_gt = expression_gt / expression_gt.sum() * 1e6
    spread_g = np.log2(scaled_gt + 1e-3).std(axis=1)
    ranks_g = spread_g.rank() + scaled_gt.min(axis=1).rank(ascending=False)
    return ranks_g.sort_index().sort_values(kind="stable").index[: round(HOUSEKEEPING_SHARE * len(ranks_g))]


def read_specificity(path: str | Path) -> pd.Series:
    """Read HPA's own category of each gene, indexed by Ensembl id, from its proteinatlas.tsv."""
    columns = ["Ensembl", "RNA single cell type specificity"]
    frame = read_text(path, "HPA's proteinatlas.tsv", usecols=columns)
    return frame.drop_duplicates("Ensembl").set_index("Ensembl")[columns[1]]


def breadth(universe: Universe, kind: str) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return the nTPM of genes by `kind`, tissue or cell_type, indexed by Ensembl id, and tau and breadth of all genes.

    These two are columns of the annotation: float64, (genes,), NaN for genes without expression data.
    """
    every, facts = universe.read(f"{kind}_expression", read_expression)
    known_gt = every[every.index.isin(universe.gene_id)]
    columns = {
        f"{kind}_specificity_tau": (tau(known_gt), "tau index of log2(1 + nTPM)"),
        f"n_{kind}s": (detected(known_gt).astype(float), f"at least {DETECTED:g} nTPM"),
    }
    source = f"{every.shape[1]} {kind.replace('_', ' ')}s of the Human Protein Atlas"
    for column, (_, text) in columns.items():
        universe.note(column, source, text, genes=universe.gene_id.isin(known_gt.index), names=len(every), **facts)
    return known_gt, {column: values.reindex(universe.gene_id).to_numpy() for column, (values, _) in columns.items()}


def cell_type_specificity(universe: Universe, expression_gc: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the category of each gene, object (genes,), and which genes it makes identity-associated, bool."""
    proxy = universe.settings.cell_type_specificity is None
    if proxy:
        category, text = specificity(expression_gc), SPECIFICITY_RULE
        facts = {"version": version(universe.settings.cell_type_expression)}
    else:
        category, facts = universe.read("cell_type_specificity", read_specificity)
        text = "HPA's own category"
    category_g = category.reindex(universe.gene_id, fill_value="").to_numpy(dtype=object)
    facts |= {"genes": category_g != "", "proxy": proxy, "names": len(category)}
    universe.note("cell_type_specificity", "Human Protein Atlas", text, **facts)
    identity_g = np.isin(category_g, [ENRICHED, GROUP_ENRICHED])
    if not identity_g.any():
        raise WcedError("annotation.cell_type_specificity: no gene is cell type enriched or group enriched")
    text = f"{'proxy: ' if proxy else ''}cell type enriched or group enriched"
    universe.note("identity", "cell_type_specificity", text, genes=identity_g, proxy=proxy)
    return category_g, identity_g


def constitutive(universe: Universe, expression_gt: pd.DataFrame) -> np.ndarray:
    """Return which genes are constitutive, bool (genes,)."""
    proxy_g = universe.gene_id.isin(housekeeping(expression_gt))
    if universe.settings.housekeeping is None:
        facts = {"version": version(universe.settings.tissue_expression), "names": len(expression_gt)}
        universe.note("housekeeping", "tissue expression", HOUSEKEEPING_RULE, genes=proxy_g, proxy=True, **facts)
        return proxy_g
    listed_g = universe.listed("housekeeping", "list of housekeeping genes")
    shared, others = (proxy_g & listed_g).sum(), (proxy_g & ~listed_g).sum()
    universe.notes[-1]["note"] += f"; the proxy by tissue expression would have {shared} of these and {others} others"
    return listed_g

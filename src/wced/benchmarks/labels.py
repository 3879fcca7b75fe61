"""Labels of cells: which cells have one, and which term of the Cell Ontology it is."""

import numpy as np
import pandas as pd
from anndata import AnnData

from wced.contracts import CELL_TYPE, are_unknown
from wced.errors import WcedError
from wced.ontology import CellOntology


def labelled(embedding: AnnData, *columns: str) -> tuple[np.ndarray, ...]:
    """Return the embedding of the cells that have a cell type (cells × dimensions, float32), and their cell types.

    Further obs columns of these cells follow, as text.
    """
    known_n = ~are_unknown(embedding.obs[CELL_TYPE])
    obs = embedding.obs.loc[known_n, [CELL_TYPE, *columns]]
    x_nd = np.asarray(embedding.X, dtype=np.float32)[known_n]
    return x_nd, *(obs[name].astype(str).to_numpy(dtype=str) for name in obs)


def current_terms(embedding: AnnData, ontology: CellOntology) -> tuple[pd.Series, pd.Series]:
    """Return the current Cell Ontology term of each cell (None without one), and the labels that are no such terms."""
    labels = embedding.obs[CELL_TYPE].astype(str)
    terms = labels.map({label: ontology.current(label) for label in labels.unique()})
    return terms.where(terms.notna(), None), labels[~are_unknown(labels) & terms.isna()]


def left_out(terms: pd.Series, outside: pd.Series) -> str:
    """Return in words which cells have no current term, from what `current_terms` returned."""
    unlabelled = terms.isna().sum() - len(outside)
    return f"all cells but {unlabelled} without a cell type and {len(outside)} whose label is not in the Cell Ontology"


def current_term(term: str, ontology: CellOntology, source: object) -> str:
    """Return a term, or what replaces it if it is obsolete; raise WcedError naming the source if CL has neither."""
    current = ontology.current(term)
    if current is None:
        raise WcedError(f"{source}: {term} is not in the Cell Ontology {ontology.version}")
    return current

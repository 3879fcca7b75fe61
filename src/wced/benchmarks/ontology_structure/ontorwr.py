"""scGraph-OntoRWR: whether cell types that are near in an embedding are near in the Cell Ontology."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial.distance import cdist
from scipy.stats import rankdata, trim_mean

from wced.ontology import CellOntology
from wced.stats import SAMPLES, Score, missing, percentiles

TRIM = 0.2
"""Share of cells cut off at either end of each dimension before the mean that is a type's centre (scGraph)."""
MIN_TYPES = 4
"""Fewest cell types for a correlation of a type's distances to the others."""


def proximities(ontology: CellOntology, terms: Sequence[str], restart: float) -> np.ndarray:
    """Return how often a random walk with restart from each term is at every term of the Cell Ontology.

    The walk follows is_a links in both directions, each as likely, and returns to its start with probability r
    (`restart`) in every step. With W the row-normalised adjacency matrix, its stationary distribution from term k is
    row k of

        Q = r (I − (1 − r) W)⁻¹,

    here solved exactly, where others iterate until little changes. It is returned as starts × all terms (in the order
    of `ontology.terms`), float64.
    """
    index = {term: i for i, term in enumerate(ontology.terms)}
    links = np.array([(index[term], index[parent]) for term in index for parent in ontology.parents[term]])
    links = np.concatenate([links, links[:, ::-1]])
    degree_t = np.bincount(links[:, 0], minlength=len(index))
    walk_tt = sparse.csr_matrix((1 / degree_t[links[:, 0]], links.T), shape=(len(index), len(index)))
    start_tk = np.zeros((len(index), len(terms)))
    start_tk[[index[term] for term in terms], np.arange(len(terms))] = restart
    # A row q of Q solves q (I − (1 − r) W) = r e; transposed, that is a system of equations for a column.
    return splu((sparse.identity(len(index)) - (1 - restart) * walk_tt).T.tocsc()).solve(start_tk).T


def profiles(ontology: CellOntology, terms: Sequence[str], restart: float) -> np.ndarray:
    """Return a vector for each term (terms × all terms), such that terms near in the Cell Ontology have near vectors.

    The vector is log(q + 1/T²) − log(1/T²) of the term's `proximities` q among T terms: the diffusion component
    analysis that scFM-Bench applies (there compressed to 256 dimensions by a singular value decomposition, here whole).
    """
    smallest = 1 / len(ontology.terms) ** 2
    # The solver may return a value just below zero for zero.
    return np.log1p(np.maximum(proximities(ontology, terms, restart), 0) / smallest)


def centres(x_nd: np.ndarray, type_n: np.ndarray, types: Sequence[str]) -> np.ndarray:
    """Return the centre of each type in an embedding: the mean of each dimension without its 20% at either end."""
    return np.stack([trim_mean(x_nd[type_n == label], TRIM, axis=0) for label in types])


def agreement(embedding_kd: np.ndarray, ontology_ke: np.ndarray, *, ranks: bool) -> np.ndarray:
    """Return for each type how its distances to the others in an embedding go with those in the ontology.

    The correlation of Euclidean distances, by Pearson or (`ranks`) Spearman; NaN for a type that is equally far from
    all others. A type's distance to itself, 0 in both, is left out, unlike in the published code, where it makes every
    correlation higher. The arguments are centres and `profiles`, a row for each of at least `MIN_TYPES` types.
    """
    others = ~np.eye(len(embedding_kd), dtype=bool)
    pair = [cdist(points, points)[others].reshape(len(points), -1) for points in (embedding_kd, ontology_ke)]
    if ranks:
        pair = [rankdata(distances, axis=1) for distances in pair]
    one, two = (distances - distances.mean(axis=1, keepdims=True) for distances in pair)
    with np.errstate(invalid="ignore"):
        return (one * two).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))


def scores(
    x_nd: np.ndarray, type_n: np.ndarray, ontology: CellOntology, *, restart: float, min_cells: int, seed: int
) -> dict[str, Score]:
    """Return scGraph-OntoRWR by Pearson's and by Spearman's correlation.

    The mean over cell types of `agreement` between the centres of the types in the embedding and their `profiles` by a
    random walk with restart on the Cell Ontology. It is the metric of "Biology-driven insights into the power of
    single-cell foundation models" (Genome Biology 2025; scFM-Bench, `scGraph_cl_ontology.py`): trimmed means (20%),
    restart probability 0.7, types of fewer than 10 cells left out, mean over types of Pearson correlations. Three
    things differ: links all weigh the same (there by the similarity of texts about both terms, which takes a language
    model), profiles are not compressed, and a type's distance to itself does not count.

    `type_n` are current Cell Ontology ids; types with fewer than `min_cells` cells are left out. Scores are
    `scgraph_ontorwr` and `scgraph_ontorwr_rank`, in [−1, 1]; higher is better; `n` counts the cells of the types.
    """
    labels, count = np.unique(type_n, return_counts=True)
    types, n = labels[count >= min_cells], int(count[count >= min_cells].sum())
    names = {"scgraph_ontorwr": False, "scgraph_ontorwr_rank": True}
    if len(types) < MIN_TYPES:
        reason = f"{len(types)} cell types have {min_cells} cells or more; {MIN_TYPES} are needed"
        return dict.fromkeys(names, missing(reason))
    centre_kd, profile_kt = centres(x_nd, type_n, types), profiles(ontology, list(types), restart)
    sample_bk = np.random.default_rng((seed, len(types))).integers(len(types), size=(SAMPLES, len(types)))
    results = {}
    for name, ranks in names.items():
        agreement_k = agreement(centre_kd, profile_kt, ranks=ranks)
        if np.isfinite(agreement_k).all():
            results[name] = percentiles(agreement_k.mean(), agreement_k[sample_bk].mean(axis=1), "cell types", n)
        else:
            results[name] = missing("a cell type is equally far from all others")
    return results

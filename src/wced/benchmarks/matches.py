"""How predicted cell types relate to the true ones in the Cell Ontology: counts of distinct pairs, and their scores."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from wced.benchmarks.lcad import distance
from wced.errors import WcedError
from wced.ontology import CellOntology
from wced.stats import SAMPLES, Score, percentiles, wilson

KINDS = ("exact", "descendant", "ancestor", "miss")
"""What a prediction is to the truth: the same term, a finer one, a coarser one, or none of these."""
LEAST_DEPTH = 2
"""Least depth (links of the longest is_a path from `cell`) of an ancestor that tells something of a cell.

At depth 0 and 1 are `cell`, `eukaryotic cell`, `nucleate cell`, `secretory cell`, `hematopoietic cell` and the like, of
which hundreds of terms are kinds; at 2 begin `leukocyte`, `epithelial cell`, `neural cell`, `endothelial cell`.
"""
JUDGEMENTS = ("accuracy_exact", "accuracy_coarser", "finer_unverified", "wrong")
"""What a prediction is by what the truth says; their shares add up to 1 (see `judged`)."""


def pairs(true_n: Sequence[str], predicted_n: Sequence[str], ontology: CellOntology) -> pd.DataFrame:
    """Return the distinct pairs of a true and a predicted term, so that each is looked up once.

    Parameters
    ----------
    true_n
        Current Cell Ontology id of each cell.
    predicted_n
        Predicted term of each cell.

    Returns
    -------
    pd.DataFrame
        `true`, `predicted` (current terms), `cells`, and `kind`, one of `KINDS`.

    Raises
    ------
    WcedError
        If a predicted term is not in the Cell Ontology.
    """
    found = pd.DataFrame({"true": np.asarray(true_n, dtype=str), "predicted": np.asarray(predicted_n, dtype=str)})
    found["predicted"] = found["predicted"].map(
        {term: _current(term, ontology) for term in found["predicted"].unique()}
    )
    found = found.value_counts(sort=False).rename("cells").reset_index()
    kinds = [kind(true, predicted, ontology) for true, predicted in zip(found["true"], found["predicted"], strict=True)]
    return found.assign(kind=kinds)


def kind(true: str, predicted: str, ontology: CellOntology) -> str:
    """Return what one current term is to another: one of `KINDS`."""
    if predicted == true:
        return "exact"
    if true in ontology.ancestors(predicted):
        return "descendant"
    return "ancestor" if predicted in ontology.ancestors(true) else "miss"


def judged(found: pd.DataFrame, ontology: CellOntology) -> np.ndarray:
    """Return what each pair is, one of `JUDGEMENTS`: right only as far as the truth itself says so.

    - `accuracy_exact`: the true term.
    - `accuracy_coarser`: an ancestor of it that tells something, that is, of at least `LEAST_DEPTH`: right, and less
      than could be said.
    - `finer_unverified`: a descendant of it. The truth `macrophage` does not say whether the cell is a `microglial
      cell`, so this is neither right nor wrong.
    - `wrong`: anything else, ancestors that tell nothing among them.

    Parameters
    ----------
    found
        What `pairs` returned.
    """
    deep_u = found["predicted"].map(ontology.depths).to_numpy() >= LEAST_DEPTH
    kind_u = found["kind"].to_numpy()
    cases = [kind_u == "exact", (kind_u == "ancestor") & deep_u, kind_u == "descendant"]
    return np.select(cases, JUDGEMENTS[:-1], default="wrong")


def judgement_scores(found: pd.DataFrame, ontology: CellOntology) -> dict[str, Score]:
    """Return the shares of cells of each of `JUDGEMENTS`, and `accuracy_lineage_known`, those exact or coarser.

    Parameters
    ----------
    found
        What `pairs` returned.
    """
    judged_u = judged(found, ontology)
    groups = {**{name: (name,) for name in JUDGEMENTS}, "accuracy_lineage_known": JUDGEMENTS[:2]}
    return {name: share(np.isin(judged_u, group), found["cells"]) for name, group in groups.items()}


def share(hit_u: Sequence[bool], cells_u: Sequence[int]) -> Score:
    """Return the share of cells whose pair is a hit, with Wilson's 95% interval."""
    return wilson(int(np.asarray(cells_u)[np.asarray(hit_u, dtype=bool)].sum()), int(np.sum(cells_u)))


def macro_share(hit_u: Sequence[bool], found: pd.DataFrame, seed: int) -> Score:
    """Return the mean over true types of the share of a type's cells whose pair is a hit.

    Parameters
    ----------
    hit_u
        Whether each pair is a hit.
    found
        What `pairs` returned.
    seed
        Seed of the bootstrap. Cells are sampled within their type, so that no type is lost; where every type's share is
        0 or 1 this tells nothing, and there is no interval.
    """
    hits_u = found["cells"].where(np.asarray(hit_u, dtype=bool), 0)
    types = pd.DataFrame({"cells": found["cells"], "hits": hits_u}).groupby(found["true"]).sum()
    cells_k, share_k = types["cells"].to_numpy(), (types["hits"] / types["cells"]).to_numpy()
    value, n = float(share_k.mean()), int(cells_k.sum())
    if np.isin(share_k, (0, 1)).all():
        return Score(value, n=n)
    hits_bk = np.random.default_rng((seed, n)).binomial(cells_k, share_k, size=(SAMPLES, len(cells_k)))
    return percentiles(value, (hits_bk / cells_k).mean(axis=1), "the cells of each type", n)


def depth_shares(found: pd.DataFrame, ontology: CellOntology) -> dict[int, Score]:
    """Return the accuracy at every depth of the Cell Ontology, true and predicted term rolled up to it.

    The depth of a term is the number of links of the longest is_a path from the root to it. Rolled up to depth d, a
    term becomes those of its ancestors (and itself) that have this depth; several where it has several parents. A
    prediction is right at depth d if it and the truth, rolled up, have a term in common; that is, if their lowest
    common ancestor is at least so deep. Cells whose truth is less deep than d are left out (the score's `n` counts the
    others); a prediction that is less deep is wrong. For a cell, what is right at d is right at all lesser depths, and
    at the truth's own depth right means `exact or descendant`.

    Parameters
    ----------
    found
        What `pairs` returned.

    Returns
    -------
    dict
        Depth, from 1 to that of the deepest truth, and its score.
    """
    true_u, cells_u = found["true"].map(ontology.depths).to_numpy(), found["cells"].to_numpy()
    common_u = np.array(
        [
            ontology.depths[distance(true, predicted, ontology).ancestor]
            for true, predicted in zip(found["true"], found["predicted"], strict=True)
        ]
    )
    return {
        depth: share(common_u[true_u >= depth] >= depth, cells_u[true_u >= depth])
        for depth in range(1, int(true_u.max()) + 1)
    }


def _current(term: str, ontology: CellOntology) -> str:
    current = ontology.current(term)
    if current is None:
        raise WcedError(f"annotation: predicted term {term} is not in the Cell Ontology {ontology.version}")
    return current

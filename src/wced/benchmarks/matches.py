"""How predicted cell types relate to the true ones in the Cell Ontology: counts of distinct pairs, and their scores."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from wced.benchmarks.labels import current_term
from wced.benchmarks.lcad import meeting
from wced.benchmarks.task import LEAST_DEPTH
from wced.ontology import CellOntology
from wced.stats import SAMPLES, Score, percentiles, wilson

KINDS = ("exact", "descendant", "ancestor", "miss")
"""What a prediction is to the truth: the same term, a finer one, a coarser one, or none of these."""
JUDGEMENTS = ("accuracy_exact", "accuracy_coarser", "finer_unverified", "wrong")
"""What a prediction is judged to be; their shares add up to 1 (see `judged`)."""


def pairs(true_n: Sequence[str], predicted_n: Sequence[str], ontology: CellOntology) -> pd.DataFrame:
    """Return the distinct pairs of a true and a predicted term: `true`, `predicted`, `cells` and `kind` (of `KINDS`).

    True terms are current ones; predicted ones are replaced by current ones. Raises WcedError if a predicted term is
    not in the Cell Ontology.
    """
    cells = pd.DataFrame({"true": np.asarray(true_n, dtype=str), "predicted": np.asarray(predicted_n, dtype=str)})
    current = {term: current_term(term, ontology, "predicted terms") for term in cells["predicted"].unique()}
    cells["predicted"] = cells["predicted"].map(current)
    table = cells.value_counts(sort=False).rename("cells").reset_index()
    kinds = [kind(true, predicted, ontology) for true, predicted in zip(table["true"], table["predicted"], strict=True)]
    return table.assign(kind=kinds)


def kind(true: str, predicted: str, ontology: CellOntology) -> str:
    """Return what one current term is to another: one of `KINDS`."""
    if predicted == true:
        return "exact"
    if true in ontology.ancestors(predicted):
        return "descendant"
    return "ancestor" if predicted in ontology.ancestors(true) else "miss"


def judged(table: pd.DataFrame, ontology: CellOntology) -> np.ndarray:
    """Return what each of `pairs` is, one of `JUDGEMENTS`: right only as far as the truth itself says so.

    - `accuracy_exact`: the true term.
    - `accuracy_coarser`: an ancestor of it of at least `LEAST_DEPTH`: right, and less than could be said.
    - `finer_unverified`: a descendant of it. The truth `macrophage` does not say whether the cell is a `microglial
      cell`, so this is neither right nor wrong.
    - `wrong`: anything else, also ancestors that say nothing.
    """
    deep_u = table["predicted"].map(ontology.depths).to_numpy() >= LEAST_DEPTH
    kind_u = table["kind"].to_numpy()
    cases = [kind_u == "exact", (kind_u == "ancestor") & deep_u, kind_u == "descendant"]
    return np.select(cases, JUDGEMENTS[:-1], default="wrong")


def judgement_scores(table: pd.DataFrame, ontology: CellOntology) -> dict[str, Score]:
    """Return the share of cells of each of `JUDGEMENTS`, and `accuracy_lineage_known`, those exact or coarser."""
    judged_u = judged(table, ontology)
    groups = {**{name: (name,) for name in JUDGEMENTS}, "accuracy_lineage_known": JUDGEMENTS[:2]}
    return {name: share(np.isin(judged_u, group), table["cells"]) for name, group in groups.items()}


def share(hit_u: Sequence[bool], cells_u: Sequence[int]) -> Score:
    """Return the share of cells whose pair is a hit, with Wilson's 95% interval."""
    return wilson(int(np.asarray(cells_u)[np.asarray(hit_u, dtype=bool)].sum()), int(np.sum(cells_u)))


def macro_share(hit_u: pd.Series, table: pd.DataFrame, seed: int) -> Score:
    """Return the mean over true types of the share of a type's cells whose pair (of `pairs`) is a hit.

    The bootstrap samples cells within their type, so that no type is lost; where every type's share is 0 or 1 nothing
    varies, and there is no interval.
    """
    types = table.assign(hits=table["cells"].where(hit_u, 0)).groupby("true")[["cells", "hits"]].sum()
    cells_k, share_k = types["cells"].to_numpy(), (types["hits"] / types["cells"]).to_numpy()
    value, n = float(share_k.mean()), int(cells_k.sum())
    if np.isin(share_k, (0, 1)).all():
        return Score(value, n=n)
    hits_bk = np.random.default_rng((seed, n)).binomial(cells_k, share_k, size=(SAMPLES, len(cells_k)))
    return percentiles(value, (hits_bk / cells_k).mean(axis=1), "the cells of each type", n)


def depth_shares(table: pd.DataFrame, ontology: CellOntology) -> dict[int, Score]:
    """Return the accuracy at every depth of the Cell Ontology, from 1 to that of the deepest truth.

    The depth of a term is the number of links of the longest is_a path from the root to it. Rolled up to depth d, a
    term becomes those of its ancestors (and itself) that have this depth; several where it has several parents. A
    prediction is right at depth d if it and the truth, rolled up, have a term in common; that is, if their lowest
    common ancestor is at least so deep. Cells whose truth is less deep than d are left out (the score's `n` counts the
    others); a prediction that is less deep is wrong. At the truth's own depth right means `exact or descendant`.
    """
    true_u, cells_u = table["true"].map(ontology.depths).to_numpy(), table["cells"].to_numpy()
    terms = zip(table["true"], table["predicted"], strict=True)
    common_u = np.array([ontology.depths[meeting(true, predicted, ontology)[0]] for true, predicted in terms])
    return {
        depth: share(common_u[true_u >= depth] >= depth, cells_u[true_u >= depth])
        for depth in range(1, int(true_u.max()) + 1)
    }

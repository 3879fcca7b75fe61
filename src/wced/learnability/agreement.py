"""Whether two models find the same genes easier than their sparsity says."""

from itertools import combinations

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.models import REGIMES, Model
from wced.learnability.published import published
from wced.tables import LEARNABILITY_AGREEMENT, LEARNABILITY_EXCLUSIVE


def agreement(models: list[Model], families: pd.DataFrame, section: Learnability) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_AGREEMENT of every pair of models.

    Of n genes that both judge, a are winners of one and b of the other: a · b / n would be shared by chance, and the
    number shared is hypergeometric. `expected_any` and `fold_any` take n to be all genes that either judges, and
    winners wherever they are. That is the paper's reading (its 13.7-fold follows from 283, 371, 909 and 16,288); it
    takes genes that one model could not judge for genes that are not its winners.

    Parameters
    ----------
    models
        Models.
    families
        Rows of tables.LEARNABILITY_FAMILIES of all of them.
    section
        Genes or families that a rank correlation needs.
    """
    rows = []
    for a, b in combinations(models, 2):
        for regime in REGIMES:
            found = _measures(a, b, regime, section)
            if regime == "all":
                found |= _of_families(a, b, families, section)
            for measure, values in found.items():
                row = {"model_a": a.name, "model_b": b.name, "regime": regime, "measure": measure, "reason": ""}
                rows.append(row | {"published": _published(a, b, regime, measure)} | values)
    return pd.DataFrame(rows, columns=LEARNABILITY_AGREEMENT.names)


def pair(a: Model, b: Model, regime: str = "all") -> pd.DataFrame:
    """Return genes that either of two models judges, in a regime of either: z, winner and judged with suffix _a, _b."""
    columns = ["gene_id", "gene_symbol", "family", "program", "z", "winner", "loser", "judged"]
    of_a, of_b = (model.genes[model.genes["judged"] & model.regime(regime)][columns] for model in (a, b))
    both = of_a.merge(of_b, on=["gene_id", "gene_symbol", "family", "program"], how="outer", suffixes=("_a", "_b"))
    for column in ("winner_a", "winner_b", "loser_a", "loser_b", "judged_a", "judged_b"):
        both[column] = both[column].eq(True)
    return both


def exclusive(models: list[Model]) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_EXCLUSIVE: where winners of one model only come from."""
    parts = []
    for a, b in combinations(models, 2):
        genes = pair(a, b)
        both = genes["judged_a"] & genes["judged_b"]
        counted = pd.DataFrame(
            {
                "family": genes["family"],
                "genes": both,
                "shared": genes["winner_a"] & genes["winner_b"],
                "only_a": both & genes["winner_a"] & ~genes["winner_b"],
                "only_b": both & genes["winner_b"] & ~genes["winner_a"],
                "only_a_unjudged": genes["winner_a"] & ~genes["judged_b"],
                "only_b_unjudged": genes["winner_b"] & ~genes["judged_a"],
            }
        )
        sums = counted.groupby("family", as_index=False).sum()
        parts.append(sums.assign(model_a=a.name, model_b=b.name))
    empty = pd.DataFrame(columns=LEARNABILITY_EXCLUSIVE.names)
    return pd.concat(parts, ignore_index=True) if parts else empty


def _measures(a: Model, b: Model, regime: str, section: Learnability) -> dict[str, dict]:
    from scipy.stats import hypergeom

    genes = pair(a, b, regime)
    both = genes[genes["judged_a"] & genes["judged_b"]]
    n, winners_a, winners_b = len(both), int(both["winner_a"].sum()), int(both["winner_b"].sum())
    shared_genes = both[both["winner_a"] & both["winner_b"]]
    shared = len(shared_genes)
    judged_a, judged_b, any_a, any_b = genes[["judged_a", "judged_b", "winner_a", "winner_b"]].sum()
    counts = {
        "judged_a": (judged_a, len(genes)),
        "judged_b": (judged_b, len(genes)),
        "judged_by_both": (n, len(genes)),
        "winners_a": (any_a, judged_a),
        "winners_b": (any_b, judged_b),
        "winners_a_judged_by_both": (winners_a, n),
        "winners_b_judged_by_both": (winners_b, n),
        "shared": (shared, n),
        "only_a": (winners_a - shared, n),
        "only_b": (winners_b - shared, n),
    }
    found = {measure: {"value": count, "n": of} for measure, (count, of) in counts.items()}
    found["shared"]["p"] = float(hypergeom.sf(shared - 1, n, winners_a, winners_b)) if n else np.nan
    fewer = min(winners_a, winners_b)
    found["shared_of_fewer"] = _ratio(shared, fewer, fewer, "one of the models has no winner that both judge")
    for suffix, size, of_a, of_b in (("", n, winners_a, winners_b), ("_any", len(genes), any_a, any_b)):
        found[f"expected{suffix}"] = _ratio(of_a * of_b, size, size, "no gene is judged by both")
        found[f"fold{suffix}"] = _ratio(shared * size, of_a * of_b, size, "one of the models has no winner")
    found["spearman_z"] = _spearman(both["z_a"], both["z_b"], "genes that both judge", section)
    found["spearman_z_shared"] = _spearman(shared_genes["z_a"], shared_genes["z_b"], "shared winners", section)
    return found


def _of_families(a: Model, b: Model, families: pd.DataFrame, section: Learnability) -> dict[str, dict]:
    of_a, of_b = (
        families[(families["checkpoint"] == model.checkpoint) & (families["decoder"] == model.decoder)]
        for model in (a, b)
    )
    both = of_a.merge(of_b, on="family", suffixes=("_a", "_b"))
    found = {}
    for measure, column in (("improvement", "median_improvement"), ("z", "median_z")):
        there = both[[f"{column}_a", f"{column}_b"]].dropna()
        found[f"spearman_family_{measure}"] = _spearman(
            there[f"{column}_a"], there[f"{column}_b"], "families with a median in both", section
        )
    return found


def _ratio(numerator: float, denominator: float, n: int, otherwise: str) -> dict:
    if denominator == 0:
        return {"n": n, "reason": otherwise}
    return {"value": numerator / denominator, "n": n}


def _spearman(x: pd.Series, y: pd.Series, what: str, section: Learnability) -> dict:
    from scipy.stats import spearmanr

    # Two points always lie on a line.
    if len(x) < max(section.min_group, 3):
        return {"n": len(x), "reason": f"{len(x)} {what}, fewer than {max(section.min_group, 3)}"}
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return {"n": len(x), "reason": f"all {what} are equal in one of the models"}
    found = spearmanr(x, y)
    return {"value": float(found.statistic), "p": float(found.pvalue), "n": len(x)}


def _published(a: Model, b: Model, regime: str, measure: str) -> str:
    if {a.decoder, b.decoder} != {"wced", "mlm"}:
        return ""
    decoder = {"only_a": a.decoder, "only_b": b.decoder}.get(measure)
    return published("agreement", "wced/mlm", regime, measure if decoder is None else f"only_{decoder}")

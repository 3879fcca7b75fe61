"""Whether two models find the same genes easier than their sparsity says."""

from itertools import combinations

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.models import REGIMES, Model, published
from wced.tables import LEARNABILITY_AGREEMENT, LEARNABILITY_EXCLUSIVE


def agreement(models: list[Model], families: pd.DataFrame, section: Learnability) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_AGREEMENT of every pair of models.

    Of n genes that both judge, a are winners of one and b of the other: a · b / n would be shared by chance, and the
    number shared is hypergeometric. `expected_any` and `fold_any` take n to be all genes that either judges, and
    winners wherever they are. That is the paper's reading (its 13.7-fold follows from 283, 371, 909 and 16,288); it
    takes genes that one model could not judge for genes that are not its winners. `families` are the rows of
    tables.LEARNABILITY_FAMILIES of all models.
    """
    rows = []
    for a, b in combinations(models, 2):
        for regime in REGIMES:
            measures = _measures(a, b, regime, section)
            if regime == "all":
                measures |= _of_families(a, b, families, section)
            for measure, values in measures.items():
                row = {"model_a": a.name, "model_b": b.name, "regime": regime, "measure": measure, "reason": ""}
                rows.append(row | {"published": _published(a, b, regime, measure)} | values)
    return pd.DataFrame(rows, columns=LEARNABILITY_AGREEMENT.names)


def pair(a: Model, b: Model, regime: str = "all") -> pd.DataFrame:
    """Return the genes that either of two models judges, in a regime of either, with suffixes _a and _b.

    `z` is NaN, and `winner`, `loser` and `judged` are False, where the model does not judge the gene. `both` are genes
    that both judge.
    """
    keys, calls = ["gene_id", "gene_symbol", "family", "program"], ["winner", "loser", "judged"]
    judged = [model.genes[model.genes["judged"] & model.regime(regime)] for model in (a, b)]
    of_a, of_b = (genes[[*keys, "z", *calls]] for genes in judged)
    genes = of_a.merge(of_b, on=keys, how="outer", suffixes=("_a", "_b"))
    for column in (f"{call}_{side}" for call in calls for side in "ab"):
        genes[column] = genes[column].eq(True)
    return genes.assign(both=genes["judged_a"] & genes["judged_b"])


def exclusive(models: list[Model]) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_EXCLUSIVE: the families of winners of one model only."""
    parts = []
    for a, b in combinations(models, 2):
        genes = pair(a, b)
        both, winner_a, winner_b = genes["both"], genes["winner_a"], genes["winner_b"]
        counts = genes[["family"]].assign(
            genes=both,
            shared=winner_a & winner_b,
            only_a=both & winner_a & ~winner_b,
            only_b=both & winner_b & ~winner_a,
            only_a_unjudged=winner_a & ~genes["judged_b"],
            only_b_unjudged=winner_b & ~genes["judged_a"],
        )
        parts.append(counts.groupby("family", as_index=False).sum().assign(model_a=a.name, model_b=b.name))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=LEARNABILITY_EXCLUSIVE.names)


def _measures(a: Model, b: Model, regime: str, section: Learnability) -> dict[str, dict]:
    from scipy.stats import hypergeom

    genes = pair(a, b, regime)
    both = genes[genes["both"]]
    shared_genes = both[both["winner_a"] & both["winner_b"]]
    n, shared = len(both), len(shared_genes)
    winners_a, winners_b = both[["winner_a", "winner_b"]].sum()
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
    measures = {measure: {"value": count, "n": of} for measure, (count, of) in counts.items()}
    measures["shared"]["p"] = float(hypergeom.sf(shared - 1, n, winners_a, winners_b)) if n else np.nan
    fewer = min(winners_a, winners_b)
    measures["shared_of_fewer"] = _ratio(shared, fewer, fewer, "one of the models has no winner that both judge")
    for suffix, size, of_a, of_b in (("", n, winners_a, winners_b), ("_any", len(genes), any_a, any_b)):
        measures[f"expected{suffix}"] = _ratio(of_a * of_b, size, size, "no gene is judged by both")
        measures[f"fold{suffix}"] = _ratio(shared * size, of_a * of_b, size, "one of the models has no winner")
    measures["spearman_z"] = _spearman(both, "z", "genes that both judge", section)
    measures["spearman_z_shared"] = _spearman(shared_genes, "z", "shared winners", section)
    return measures


def _of_families(a: Model, b: Model, families: pd.DataFrame, section: Learnability) -> dict[str, dict]:
    both = a.rows_of(families).merge(b.rows_of(families), on="family", suffixes=("_a", "_b"))
    return {
        f"spearman_family_{measure}": _spearman(both, column, "families with a median in both", section)
        for measure, column in (("improvement", "median_improvement"), ("z", "median_z"))
    }


def _ratio(numerator: float, denominator: float, n: int, otherwise: str) -> dict:
    return {"n": n, "reason": otherwise} if denominator == 0 else {"value": numerator / denominator, "n": n}


def _spearman(rows: pd.DataFrame, column: str, what: str, section: Learnability) -> dict:
    """Return the rank correlation of a column's values of two models, over the rows that have both."""
    from scipy.stats import spearmanr

    rows = rows[[f"{column}_a", f"{column}_b"]].dropna()
    n, fewest = len(rows), max(section.min_group, 3)  # two points always lie on a line
    if n < fewest:
        return {"n": n, "reason": f"{n} {what}, fewer than {fewest}"}
    if (rows.max() == rows.min()).any():
        return {"n": n, "reason": f"all {what} are equal in one of the models"}
    correlation = spearmanr(rows)
    return {"value": float(correlation.statistic), "p": float(correlation.pvalue), "n": n}


def _published(a: Model, b: Model, regime: str, measure: str) -> str:
    if {a.decoder, b.decoder} != {"wced", "mlm"}:
        return ""
    decoder = {"only_a": a.decoder, "only_b": b.decoder}.get(measure)
    return published("agreement", "wced/mlm", regime, measure if decoder is None else f"only_{decoder}")

"""Absolute learnability: which genes and families beat the null, from which epoch on; counts of the relative one."""

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.genes import improvement
from wced.learnability.models import REGIMES, Model, published
from wced.stats import defined_percentiles
from wced.tables import LEARNABILITY_FACTS, LEARNABILITY_FAMILIES


def tier(median_improvement: float, bounds: tuple[float, float, float]) -> str:
    """Return the tier of a family, "1" to "4": the first whose smallest improvement it reaches."""
    return str(1 + sum(median_improvement < bound for bound in bounds))


def dynamics(errors: pd.DataFrame, model: Model, section: Learnability) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_DYNAMICS of a model, from errors of all epochs.

    Its reliable genes are followed through all epochs, so that a median never changes by its genes.
    """
    family = _of_judged_families(model, section).set_index("gene_id")["family"]
    rows = model.rows_of(errors)
    rows = rows[rows["gene_id"].isin(family.index) & rows["rescaled_mae"].notna()]
    auc = rows["detection_auc"].where(rows["n"] - rows["n_nonzero"] >= section.min_zeros)
    rows = rows.assign(family=rows["gene_id"].map(family), improvement=improvement(rows), detection_auc=auc)
    table = rows.groupby(["family", "epoch"], as_index=False).agg(
        genes=("gene_id", "size"),
        median_rescaled_mae=("rescaled_mae", "median"),
        median_improvement=("improvement", "median"),
        median_auc=("detection_auc", "median"),
    )
    last = table.groupby("family")["median_rescaled_mae"].transform("last")
    near = (table["median_rescaled_mae"] - last).abs() <= section.convergence * last
    # Converged: near the last epoch's median in this epoch and all after it.
    stays = near[::-1].astype(int).groupby(table["family"][::-1]).cummin()[::-1].astype(bool)
    return table.assign(**model.key, converged=stays)


def _of_judged_families(model: Model, section: Learnability) -> pd.DataFrame:
    """Return the reliable genes of those families that have a median."""
    family = model.genes["family"]
    enough = family.map(family.value_counts()) >= section.min_group
    return model.genes[enough & ~family.isin(list(model.unseen("family")))]


def converged_epoch(rows: pd.DataFrame) -> pd.Series:
    """Return the epoch from which each family of a model stays near its last median; `rows` is from `dynamics`."""
    return rows[rows["converged"]].groupby("family")["epoch"].min().rename("converged_epoch")


def families(model: Model, section: Learnability, followed: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_FAMILIES of a model, from its `dynamics`; the best median comes first."""
    genes = _of_judged_families(model, section)
    medians = genes.assign(beats=genes["improvement"] > 0).groupby("family").agg(
        median_improvement=("improvement", "median"),
        beat_null_fraction=("beats", "mean"),
        median_rescaled_mae=("rescaled_mae", "median"),
        median_zero_fraction=("zero_fraction", "median"),
        auc_genes=("detection_auc", "count"),
        median_auc=("detection_auc", "median"),
        min_auc=("detection_auc", "min"),
        median_z=("z", "median"),
    )  # fmt: skip
    every = model.every.assign(left_out=model.every["left_out"] != "").groupby("family")
    table = every.agg(genes=("gene_id", "size"), left_out=("left_out", "sum"))
    table = table.assign(reliable=model.genes["family"].value_counts(), **model.key)
    table = table.join(medians).join(converged_epoch(followed)).fillna({"reliable": 0, "auc_genes": 0})
    table = table.assign(tier="", ci_low=np.nan, ci_high=np.nan, ci_method="")
    reason = table["reliable"].map(f"{{:.0f}} reliable genes, fewer than {section.min_group}".format)
    reason.update(pd.Series(model.unseen("family"), dtype=object))
    reason[medians.index] = np.where(medians["median_improvement"].isna(), "the null makes no error", "")
    for family, rows in genes.groupby("family").groups.items():
        ends = defined_percentiles(_medians(model.bootstraps.improvement_rg[:, rows]))
        table.loc[family, ["ci_low", "ci_high", "ci_method"]] = *ends, model.intervals
        if reason[family] == "":
            table.loc[family, "tier"] = tier(table.loc[family, "median_improvement"], section.tiers)
    table = table.assign(reason=reason).reset_index().reindex(columns=LEARNABILITY_FAMILIES.names)
    return table.sort_values(["median_improvement", "family"], ascending=[False, True], ignore_index=True)


def facts(model: Model, family_rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_FACTS of a model; `family_rows` is what `families` returns for it."""
    n, left_out, explained = len(model.every), int((model.every["left_out"] != "").sum()), model.fitted.explained
    no_variance = "" if np.isfinite(explained) else f"the errors of {len(model.genes)} reliable genes do not vary"
    medians = family_rows["median_auc"].dropna()
    no_auc = "" if len(medians) else "no family has enough genes with enough zeros"
    measures = [
        ("all", "genes", n, n),
        ("all", "left_out", left_out, n),
        ("all", "dropped", n - left_out - len(model.genes), n),
        ("all", "variance_explained", explained, len(model.genes), no_variance, model.bootstraps.explained_r),
        *((regime, *measure) for regime in REGIMES for measure in _of_regime(model, model.regime(regime))),
        *(("all", f"families_{name}_auc", medians.agg(name), len(medians), no_auc) for name in ("median", "min")),
    ]
    return pd.DataFrame([_row(model, *measure) for measure in measures])[LEARNABILITY_FACTS.names]


def _of_regime(model: Model, where: np.ndarray) -> list[tuple]:
    """Return name, value, n, reason and values in the bootstraps of measures over some of the reliable genes."""
    genes, samples = model.genes[where], model.bootstraps
    winners, auc = genes[genes["winner"]], genes["detection_auc"].dropna()
    n, n_winners = len(genes), len(winners)
    no_genes, no_winners = "" if n else "no reliable genes", "" if n_winners else "no winners"
    no_auc = "" if len(auc) else "no reliable gene has enough zeros"
    improvement_g, improvement_rg = genes["improvement"], samples.improvement_rg[:, where]
    beat_r = (improvement_rg > 0).sum(axis=1) / max(n, 1)
    return [
        ("reliable", n, n),
        ("judged", genes["judged"].sum(), n),
        ("winners", n_winners, n, "", samples.winner_rg[:, where].sum(axis=1)),
        ("losers", genes["loser"].sum(), n, "", samples.loser_rg[:, where].sum(axis=1)),
        ("winners_median_zero_fraction", winners["zero_fraction"].median(), n_winners, no_winners),
        ("winners_beating_null_fraction", (winners["improvement"] > 0).mean(), n_winners, no_winners),
        ("beat_null_fraction", (improvement_g > 0).mean(), n, no_genes, beat_r),
        ("median_improvement", improvement_g.median(), n, no_genes, _medians(improvement_rg)),
        ("median_rescaled_mae", genes["rescaled_mae"].median(), n, no_genes, _medians(samples.error_rg[:, where])),
        ("median_detection_auc", auc.median(), len(auc), no_auc),
    ]


def _row(
    model: Model, regime: str, measure: str, value: float, n: int, reason: str = "", value_r: np.ndarray | None = None
) -> dict:
    """Return a row, with an interval of `value_r`, the values of the bootstraps."""
    ci_low = ci_high = np.nan
    if value_r is not None and not reason:
        ci_low, ci_high = defined_percentiles(value_r)
    return {
        **model.key,
        "regime": regime,
        "measure": measure,
        "value": np.nan if reason else float(value),
        "ci_low": ci_low,
        "ci_high": ci_high,
        "ci_method": "" if value_r is None else model.intervals,
        "n": n,
        "published": published("facts", model.decoder, regime, measure),
        "reason": reason,
    }


def _medians(value_rg: np.ndarray) -> np.ndarray:
    """Return the median of each bootstrap over the genes that have a value in it; NaN without any."""
    return pd.DataFrame(value_rg).median(axis=1).to_numpy()

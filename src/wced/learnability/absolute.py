"""Absolute learnability: which genes and families beat the null, from which epoch on; counts of the relative one."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.confidence import Draws
from wced.learnability.genes import improvement
from wced.learnability.models import REGIMES, Model
from wced.learnability.published import published
from wced.stats import defined_percentiles
from wced.tables import LEARNABILITY_FAMILIES


def tier(median_improvement: float, bounds: tuple[float, float, float]) -> str:
    """Return the tier of a family, "1" to "4": the first whose smallest improvement it reaches."""
    return str(1 + sum(median_improvement < bound for bound in bounds))


def dynamics(errors: pd.DataFrame, model: Model, section: Learnability) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_DYNAMICS of a model.

    Parameters
    ----------
    errors
        Rows of tables.GENE_ERRORS of all epochs.
    model
        The model. Its reliable genes are followed through all epochs, so that a median never changes by its genes.
    section
        Reliable genes that a family needs; what convergence is.
    """
    mine = errors[(errors["checkpoint"] == model.checkpoint) & (errors["decoder"] == model.decoder)]
    family = model.genes.set_index("gene_id")["family"]
    size = family.value_counts()
    family = family[(family.map(size) >= section.min_group) & ~family.isin(list(model.unseen("family")))]
    mine = mine[mine["gene_id"].isin(family.index) & mine["rescaled_mae"].notna()]
    auc = mine["detection_auc"].where(mine["n"] - mine["n_nonzero"] >= section.min_zeros)
    mine = mine.assign(family=mine["gene_id"].map(family), improvement=improvement(mine), detection_auc=auc)
    table = mine.groupby(["family", "epoch"], as_index=False).agg(
        genes=("gene_id", "size"),
        median_rescaled_mae=("rescaled_mae", "median"),
        median_improvement=("improvement", "median"),
        median_auc=("detection_auc", "median"),
    )
    last = table.groupby("family")["median_rescaled_mae"].transform("last")
    near = (table["median_rescaled_mae"] - last).abs() <= section.convergence * last
    # Converged from here on: near the last epoch's median in this epoch and all after it.
    stays = near[::-1].astype(int).groupby(table["family"][::-1]).cummin()[::-1].astype(bool)
    return table.assign(**model.key, converged=stays)


def converged_epoch(rows: pd.DataFrame) -> dict[str, int]:
    """Return the first epoch from which each family of a model stays near its last median; rows as `dynamics` gives."""
    rows = rows[rows["converged"]]
    return {str(family): int(epoch) for family, epoch in rows.groupby("family")["epoch"].min().items()}


def families(model: Model, section: Learnability, converged: dict[str, int]) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_FAMILIES of a model, the family with the best median first.

    Parameters
    ----------
    model
        A model.
    section
        Bounds of the tiers; reliable genes that a family needs.
    converged
        What `converged_epoch` gives.
    """
    genes, unseen = model.genes, model.unseen("family")
    at = {family: np.array(rows) for family, rows in genes.groupby("family").indices.items()}
    rows = []
    for family, every in model.every.groupby("family"):
        place = at.get(family, np.array([], int))
        row = {**model.key, "family": family, "genes": len(every), "reliable": len(place), "tier": "", "reason": ""}
        row |= {"left_out": (every["left_out"] != "").sum(), "auc_genes": 0}
        if family in unseen or len(place) < section.min_group:
            few = f"{len(place)} reliable genes, fewer than {section.min_group}"
            rows.append(row | {"reason": unseen.get(family, few)})
            continue
        reliable = genes.iloc[place]
        row |= {
            "median_improvement": reliable["improvement"].median(),
            "ci_method": model.intervals,
            "beat_null_fraction": (reliable["improvement"] > 0).mean(),
            "median_rescaled_mae": reliable["rescaled_mae"].median(),
            "median_zero_fraction": reliable["zero_fraction"].median(),
            "auc_genes": reliable["detection_auc"].notna().sum(),
            "median_auc": reliable["detection_auc"].dropna().median(),
            "min_auc": reliable["detection_auc"].min(),
            "median_z": reliable["z"].dropna().median(),
            "converged_epoch": converged.get(family, np.nan),
        }
        if np.isnan(row["median_improvement"]):
            row["reason"] = "the null makes no error"
        else:
            row["tier"] = tier(row["median_improvement"], section.tiers)
        if model.draws is not None:
            row["ci_low"], row["ci_high"] = defined_percentiles(_medians(model.draws.improvement_rg[:, place]))
        rows.append(row)
    table = pd.DataFrame(rows, columns=LEARNABILITY_FAMILIES.names)
    return table.sort_values(["median_improvement", "family"], ascending=[False, True], ignore_index=True)


def facts(model: Model, family_rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_FACTS of a model.

    Parameters
    ----------
    model
        A model.
    family_rows
        What `families` gives for it.
    """
    n, left_out = len(model.every), int((model.every["left_out"] != "").sum())
    rows = [
        _row(model, "all", "genes", n, n),
        _row(model, "all", "left_out", left_out, n),
        _row(model, "all", "dropped", n - left_out - len(model.genes), n),
        _explained(model),
    ]
    for regime in REGIMES:
        rows += _regime(model, regime)
    rows += [_of_families(model, family_rows, name) for name in ("median", "min")]
    return pd.DataFrame(rows)


def _regime(model: Model, regime: str) -> list[dict]:
    where = model.regime(regime)
    genes = model.genes[where]
    winners, aucs = genes[genes["winner"]], genes["detection_auc"].dropna()
    n, n_winners, n_aucs = len(genes), len(winners), len(aucs)
    no_genes, no_winners = "" if n else "no reliable genes", "" if n_winners else "no winners"
    no_aucs = "" if n_aucs else "no reliable gene has enough zeros"
    improvement_g, mae_g = genes["improvement"], genes["rescaled_mae"]
    measures = [
        ("reliable", n, n),
        ("judged", genes["judged"].sum(), n),
        ("winners", n_winners, n, "", lambda draws: draws.winner_rg[:, where].sum(axis=1)),
        ("losers", genes["loser"].sum(), n, "", lambda draws: draws.loser_rg[:, where].sum(axis=1)),
        ("winners_median_zero_fraction", winners["zero_fraction"].median(), n_winners, no_winners),
        ("winners_beating_null_fraction", (winners["improvement"] > 0).mean(), n_winners, no_winners),
        ("beat_null_fraction", (improvement_g > 0).mean(), n, no_genes,
         lambda draws: (draws.improvement_rg[:, where] > 0).mean(axis=1)),
        ("median_improvement", improvement_g.median(), n, no_genes,
         lambda draws: _medians(draws.improvement_rg[:, where])),
        ("median_rescaled_mae", mae_g.median(), n, no_genes, lambda draws: _medians(draws.error_rg[:, where])),
        ("median_detection_auc", aucs.median(), n_aucs, no_aucs),
    ]  # fmt: skip
    return [_row(model, regime, *measure) for measure in measures]


def _explained(model: Model) -> dict:
    value, n = model.fitted.explained, len(model.genes)
    reason = "" if np.isfinite(value) else f"the errors of {n} reliable genes do not vary"
    return _row(model, "all", "variance_explained", value, n, reason, lambda draws: draws.explained_r)


def _of_families(model: Model, family_rows: pd.DataFrame, statistic: str) -> dict:
    medians = family_rows["median_auc"].dropna()
    reason = "" if len(medians) else "no family has enough genes with enough zeros"
    return _row(model, "all", f"families_{statistic}_auc", medians.agg(statistic), len(medians), reason)


def _row(
    model: Model,
    regime: str,
    measure: str,
    value: float,
    n: int,
    reason: str = "",
    sampled: Callable[[Draws], np.ndarray] | None = None,
) -> dict:
    """Return a row; with `sampled`, which gives the measure in each draw of blocks, it has an interval."""
    low = high = np.nan
    if sampled is not None and model.draws is not None and not reason:
        low, high = defined_percentiles(np.asarray(sampled(model.draws), np.float64))
    return {
        **model.key,
        "regime": regime,
        "measure": measure,
        "value": np.nan if reason else float(value),
        "ci_low": low,
        "ci_high": high,
        "ci_method": model.intervals if sampled is not None else "",
        "n": n,
        "published": published("facts", model.decoder, regime, measure),
        "reason": reason,
    }


def _medians(values_rg: np.ndarray) -> np.ndarray:
    """Return the median of each draw over the genes that have a value in it; NaN without any."""
    return pd.DataFrame(values_rg).median(axis=1).to_numpy()

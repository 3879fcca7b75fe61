"""Which expression programs and gene families winners come from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.models import REGIMES, Model
from wced.learnability.published import published
from wced.stats import adjusted, defined_percentiles, exact_odds, odds_ratio, wilson
from wced.tables import LEARNABILITY_ENRICHMENT

IDENTITY, DISSOCIATION, UNASSIGNED = "identity", "dissociation", "unassigned"
"""Programs that are compared by name (BMFM-RNA paper, section 9.2)."""

PROGRAMS = (IDENTITY, "constitutive", "cell_cycle", DISSOCIATION, UNASSIGNED)
"""All programs, in the order in which figures show them."""

OTHERS = "all other genes"
"""What a family is compared with."""


@dataclass(frozen=True)
class Comparison:
    """Two groups of judged genes of a model."""

    axis: str
    """program or family."""
    group: str
    """Name of the group."""
    against: str
    """Name of what it is compared with."""
    group_g: np.ndarray
    """bool."""
    against_g: np.ndarray
    """bool."""
    reason: str = ""
    """Why the two are not compared whatever their genes; they have none then."""


def enrichment(model: Model, section: Learnability, proxies: str, seed: int) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_ENRICHMENT of a model.

    Programs are compared with the unassigned genes, identity also with dissociation; families with all other genes.
    Only judged genes count. Each regime is a table of its own, with its own correction for multiple testing.

    Parameters
    ----------
    model
        A model.
    section
        Genes that a group needs; number of shuffles.
    proxies
        Sets of genes behind the programs that are proxies.
    seed
        Seed of the shuffles.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for regime in REGIMES:
        judged_g = model.genes["judged"].to_numpy() & model.regime(regime)
        for axis in ("program", "family"):
            compared = _comparisons(model, axis, judged_g)
            part = [_compare(model, regime, each, section, rng) for each in compared]
            part = [row | {"proxies": proxies if axis == "program" else ""} for row in part]
            for test in ("fisher", "mann_whitney"):
                q_values = adjusted([row.get(f"{test}_p", np.nan) for row in part], "fdr_bh")
                part = [row | {f"{test}_q": q} for row, q in zip(part, q_values, strict=True)]
            rows += part
    return pd.DataFrame(rows, columns=LEARNABILITY_ENRICHMENT.names)


def _comparisons(model: Model, axis: str, judged_g: np.ndarray) -> list[Comparison]:
    labels_g = model.genes[axis].to_numpy()
    groups, unseen = sorted(model.every[axis].unique()), model.unseen(axis)

    def compared(a: str, b: str) -> Comparison:
        against_g = labels_g != a if b == OTHERS else labels_g == b
        reason = unseen.get(a, unseen.get(b, ""))
        read_g = judged_g & (reason == "")
        return Comparison(axis, a, b, read_g & (labels_g == a), read_g & against_g, reason)

    if axis == "family":
        return [compared(group, OTHERS) for group in groups]
    pairs = [(group, UNASSIGNED) for group in groups if group != UNASSIGNED]
    if {IDENTITY, DISSOCIATION} <= set(groups):
        pairs.append((IDENTITY, DISSOCIATION))
    return [compared(a, b) for a, b in pairs]


def _compare(model: Model, regime: str, each: Comparison, section: Learnability, rng: np.random.Generator) -> dict:
    """Return a row without the columns that cannot be computed."""
    from scipy.stats import mannwhitneyu

    winner_g, z_g = model.fitted.winner_g, model.fitted.z_g
    table = np.array(
        [
            [np.sum(winner_g & each.group_g), np.sum(~winner_g & each.group_g)],
            [np.sum(winner_g & each.against_g), np.sum(~winner_g & each.against_g)],
        ]
    )
    (winners, winners_against), (genes, genes_against) = table[:, 0], table.sum(axis=1)
    row = {
        **model.key,
        "regime": regime,
        "axis": each.axis,
        "group": each.group,
        "against": each.against,
        "genes": genes,
        "winners": winners,
        "losers": int(np.sum(model.fitted.loser_g & each.group_g)),
        "genes_against": genes_against,
        "winners_against": winners_against,
        "published_odds_ratio": "",
        "published_winner_rate": "",
        "reason": each.reason or _reason(each, table, section),
    }
    if each.against in (UNASSIGNED, OTHERS):
        for measure in ("odds_ratio", "winner_rate"):
            row[f"published_{measure}"] = published("enrichment", model.decoder, regime, measure, each.group)
    if genes:
        rate = wilson(winners, genes)
        row |= {"winner_rate": rate.value, "rate_low": rate.ci_low, "rate_high": rate.ci_high}
        row["median_z"] = float(np.median(z_g[each.group_g]))
    if genes_against:
        row["median_z_against"] = float(np.median(z_g[each.against_g]))
    if min(genes, genes_against) >= section.min_group:
        row["mann_whitney_p"] = mannwhitneyu(z_g[each.group_g], z_g[each.against_g]).pvalue
    if not row["reason"]:
        odds, row["fisher_p"] = exact_odds(table)
        row |= {"odds_ratio": odds.value, "ci_low": odds.ci_low, "ci_high": odds.ci_high}
        row |= _permuted(table, section.permutations, rng) | _drawn(model, each)
    return row


def _reason(each: Comparison, table: np.ndarray, section: Learnability) -> str:
    """Return why there is no odds ratio; empty where there is one."""
    for name, genes in zip((each.group, each.against), table.sum(axis=1), strict=True):
        if genes < section.min_group:
            return f"{genes} judged genes of {name}, fewer than {section.min_group}"
    if not table[:, 0].any():
        return "no winner in either group"
    if table[1, 0] == 0:
        return f"no winner among {each.against}: the odds ratio is infinite"
    if table[0, 1] == 0 or table[1, 1] == 0:
        return "every gene of a group is a winner"
    return ""


def _permuted(table: np.ndarray, permutations: int, rng: np.random.Generator) -> dict[str, float]:
    """Shuffle the two labels among the genes of both groups.

    How many winners a group then has is hypergeometric, so its number is drawn, and no gene is moved.
    """
    genes, winners = table.sum(axis=1), table[:, 0].sum()
    drawn_r = rng.hypergeometric(winners, genes.sum() - winners, genes[0], size=permutations)
    odds_r = odds_ratio(drawn_r, genes[0], winners - drawn_r, genes[1])
    low, high = defined_percentiles(odds_r)
    ordered_r = np.sort(odds_r[~np.isnan(odds_r)])
    # The observed table is one of the possible shuffles.
    tails = [1 + np.sum(drawn_r <= table[0, 0]), 1 + np.sum(drawn_r >= table[0, 0])]
    return {
        "permuted": float(ordered_r[len(ordered_r) // 2]) if len(ordered_r) else np.nan,
        "permuted_low": low,
        "permuted_high": high,
        "permuted_p": min(1.0, 2 * min(tails) / (permutations + 1)),
    }


def _drawn(model: Model, each: Comparison) -> dict[str, float]:
    if model.draws is None:
        return {}
    winner_rg = model.draws.winner_rg
    winners_r, against_r = winner_rg[:, each.group_g].sum(axis=1), winner_rg[:, each.against_g].sum(axis=1)
    odds_r = odds_ratio(winners_r, each.group_g.sum(), against_r, each.against_g.sum())
    low, high = defined_percentiles(odds_r)
    return {"blocks_low": low, "blocks_high": high}

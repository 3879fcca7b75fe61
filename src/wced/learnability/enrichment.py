"""Which expression programs and gene families winners come from."""

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.models import REGIMES, Model, published
from wced.stats import adjusted, defined_percentiles, exact_odds, odds_ratio, wilson
from wced.tables import LEARNABILITY_ENRICHMENT

IDENTITY, DISSOCIATION, UNASSIGNED = "identity", "dissociation", "unassigned"
"""Programs that are compared by name (BMFM-RNA paper, section 9.2)."""
PROGRAMS = (IDENTITY, "constitutive", "cell_cycle", DISSOCIATION, UNASSIGNED)
"""All programs, in the order in which figures show them."""
OTHERS = "all other genes"
"""What a family is compared with."""


def enrichment(model: Model, section: Learnability, proxies: str, seed: int) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_ENRICHMENT of a model.

    Programs are compared with the unassigned genes, identity also with dissociation; families with all other genes.
    Only judged genes count. Each regime is a table of its own, with its own correction for multiple testing. `proxies`
    are the sets of genes behind the programs that are proxies; `seed` is that of the shuffles.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for regime in REGIMES:
        judged_g = model.genes["judged"].to_numpy() & model.regime(regime)
        for axis in ("program", "family"):
            key = {**model.key, "regime": regime, "axis": axis, "proxies": proxies if axis == "program" else ""}
            part = [key | _compare(model, key, *pair, judged_g, section, rng) for pair in _pairs(model, axis)]
            for test in ("fisher", "mann_whitney"):
                q_values = adjusted([row.get(f"{test}_p", np.nan) for row in part], "fdr_bh")
                part = [row | {f"{test}_q": q} for row, q in zip(part, q_values, strict=True)]
            rows += part
    return pd.DataFrame(rows, columns=LEARNABILITY_ENRICHMENT.names)


def _pairs(model: Model, axis: str) -> list[tuple[str, str, str]]:
    """Return each group of an axis, what it is compared with, and a reason if the model does not read one of them."""
    groups, unseen = sorted(model.every[axis].unique()), model.unseen(axis)
    if axis == "family":
        pairs = [(group, OTHERS) for group in groups]
    else:
        pairs = [(group, UNASSIGNED) for group in groups if group != UNASSIGNED]
        if {IDENTITY, DISSOCIATION} <= set(groups):
            pairs.append((IDENTITY, DISSOCIATION))
    return [(group, against, unseen.get(group, unseen.get(against, ""))) for group, against in pairs]


def _compare(
    model: Model,
    key: dict[str, str],
    group: str,
    against: str,
    reason: str,
    judged_g: np.ndarray,
    section: Learnability,
    rng: np.random.Generator,
) -> dict:
    """Return the columns of a row that can be computed."""
    from scipy.stats import mannwhitneyu

    labels_g = model.genes[key["axis"]].to_numpy()
    judged_g = judged_g & (reason == "")  # no gene of groups that the model does not read
    group_g = judged_g & (labels_g == group)
    against_g = judged_g & (labels_g != group if against == OTHERS else labels_g == against)
    winner_g, z_g, winner_rg = model.fitted.winner_g, model.fitted.z_g, model.bootstraps.winner_rg
    genes, genes_against = int(group_g.sum()), int(against_g.sum())
    winners, winners_against = int(winner_g[group_g].sum()), int(winner_g[against_g].sum())
    table = np.array([[winners, genes - winners], [winners_against, genes_against - winners_against]])
    row = {
        "group": group,
        "against": against,
        "genes": genes,
        "winners": winners,
        "losers": int(model.fitted.loser_g[group_g].sum()),
        "genes_against": genes_against,
        "winners_against": winners_against,
        "reason": reason or _reason(group, against, table, section),
    }
    if against != DISSOCIATION:
        for measure in ("odds_ratio", "winner_rate"):
            row[f"published_{measure}"] = published("enrichment", model.decoder, key["regime"], measure, group)
    if genes:
        rate = wilson(winners, genes)
        row |= {"winner_rate": rate.value, "rate_low": rate.ci_low, "rate_high": rate.ci_high}
        row["median_z"] = float(np.median(z_g[group_g]))
    if genes_against:
        row["median_z_against"] = float(np.median(z_g[against_g]))
    if min(genes, genes_against) >= section.min_group:
        row["mann_whitney_p"] = mannwhitneyu(z_g[group_g], z_g[against_g]).pvalue
    if not row["reason"]:
        odds, row["fisher_p"] = exact_odds(table)
        winners_r, against_r = winner_rg[:, group_g].sum(axis=1), winner_rg[:, against_g].sum(axis=1)
        low, high = defined_percentiles(odds_ratio(winners_r, genes, against_r, genes_against))
        row |= {"odds_ratio": odds.value, "ci_low": odds.ci_low, "ci_high": odds.ci_high}
        row |= {"blocks_low": low, "blocks_high": high} | _permuted(table, section.permutations, rng)
    return row


def _reason(group: str, against: str, table: np.ndarray, section: Learnability) -> str:
    """Return why there is no odds ratio; empty where there is one."""
    for name, genes in zip((group, against), table.sum(axis=1), strict=True):
        if genes < section.min_group:
            return f"{genes} judged genes of {name}, fewer than {section.min_group}"
    if not table[:, 0].any():
        return "no winner in either group"
    if table[1, 0] == 0:
        return f"no winner among {against}: the odds ratio is infinite"
    if not table[:, 1].all():
        return "every gene of a group is a winner"
    return ""


def _permuted(table: np.ndarray, permutations: int, rng: np.random.Generator) -> dict[str, float]:
    """Shuffle the two labels among the genes of both groups.

    How many winners a group then has is hypergeometric, so its number is sampled, and no gene is moved.
    """
    genes, winners = table.sum(axis=1), table[:, 0].sum()
    winners_r = rng.hypergeometric(winners, genes.sum() - winners, genes[0], size=permutations)
    odds_r = odds_ratio(winners_r, genes[0], winners - winners_r, genes[1])
    low, high = defined_percentiles(odds_r)
    ordered_r = np.sort(odds_r[~np.isnan(odds_r)])
    # The observed table is one of the possible shuffles.
    tails = [1 + np.sum(winners_r <= table[0, 0]), 1 + np.sum(winners_r >= table[0, 0])]
    return {
        "permuted": float(ordered_r[len(ordered_r) // 2]) if len(ordered_r) else np.nan,
        "permuted_low": low,
        "permuted_high": high,
        "permuted_p": min(1.0, 2 * min(tails) / (permutations + 1)),
    }

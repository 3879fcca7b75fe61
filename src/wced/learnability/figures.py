"""All figures of gene learnability, in the manner of the BMFM-RNA paper's Figure 2, with the numbers behind each."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, cycle, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from wced.config.learnability import Learnability
from wced.figures import CYAN, DOT, GREEN, INDIGO, LINE, OTHER, PALETTE, ROSE, SAND, TEAL, save_figure, styled
from wced.figures.charts import legend, name_points, name_rows, panels, scatter
from wced.learnability.agreement import pair
from wced.learnability.analysis import Analysis
from wced.learnability.enrichment import PROGRAMS, UNASSIGNED
from wced.learnability.models import Model
from wced.stats import wilson

TIERS = {"1": GREEN, "2": TEAL, "3": SAND, "4": ROSE, "": OTHER}
"""Colour of each tier, and of families without one."""
WINNER, LOSER, NEITHER = GREEN, ROSE, OTHER
"""Colours of genes."""
FEW = 10
"""Genes below which neither a violin nor a winner rate is plotted."""
Save = Callable[..., None]
"""`save_figure` with a folder and a name."""


@styled
def save_figures(analysis: Analysis, section: Learnability, folder: Path) -> None:
    """Write all figures into a folder, each as SVG, PDF, numbers (TSV) and caption (Markdown)."""
    saves = (partial(save_figure, folder, name) for name in figure_names(analysis.models))
    for model in analysis.models:
        _families(analysis, model, section, next(saves))
    _dynamics(analysis, section, next(saves))
    _winners(analysis, section, next(saves))
    _programs(analysis, next(saves))
    for a, b in combinations(analysis.models, 2):
        _pair(a, b, section, next(saves))


def figure_names(models: Sequence[Model]) -> list[str]:
    """Return the stems of the figures that `save_figures` writes, in the order of the page."""
    slugs = [f"{model.checkpoint}_{model.decoder}" for model in models]
    pairs = [f"z_{a}_{b}" for a, b in combinations(slugs, 2)]
    return [*(f"families_{slug}" for slug in slugs), "dynamics", "winners", "programs", *pairs]


def _families(analysis: Analysis, model: Model, section: Learnability, save: Save) -> None:
    """Write the violins of a model's families, ordered by improvement and coloured by tier (Figure 2A)."""
    rows = model.rows_of(analysis.tables["learnability_families"])
    rows = rows[(rows["reliable"] > 0) & ~rows["family"].isin(list(model.unseen("family")))]
    figure, (axis,) = panels(1, 7.2, 0.24 * len(rows) + 1.6)
    by_family = dict(list(model.genes.groupby("family")["rescaled_mae"]))
    # Area of a violin cannot hold 3 and 6,000 genes at once, so its width is the root of their number.
    widths = 0.25 + 0.65 * np.sqrt(rows["reliable"] / rows["reliable"].max())
    for y, (row, width) in enumerate(zip(rows.itertuples(), widths, strict=True)):
        values, colour = by_family[row.family].to_numpy(), TIERS[row.tier]
        if row.reliable >= FEW and np.ptp(values) > 0:
            look = {"orientation": "horizontal", "showextrema": False, "points": 80}
            violin = axis.violinplot([values], [y], widths=width, **look)
            violin["bodies"][0].set(facecolor=colour, edgecolor="none", alpha=0.85)
        else:
            scatter(axis, values, np.full(len(values), y), colour, s=9)
        axis.plot(np.median(values), y, "|", color="black", ms=6, mew=1.2)
    name_rows(axis, [f"{row.family} ({row.reliable:,})" for row in rows.itertuples()], fontsize=7.5)
    axis.set_xlabel("rescaled MAE where expressed (lower is better)")
    axis.set_title(f"{model.name}: {len(model.genes):,} reliable genes of {len(model.every):,}", loc="left")
    tier_1, tier_2, tier_3 = (f"{bound:.0%}" for bound in section.tiers)
    names = {
        "1": f"tier 1: {tier_1} or more better than the null",
        "2": f"tier 2: {tier_2} to {tier_1}",
        "3": f"tier 3: {tier_3} to {tier_2}",
        "4": f"tier 4: under {tier_3}, or worse than the null",
        "": f"no tier: fewer than {section.min_group} genes",
    }
    tiers = set(rows["tier"])
    legend(figure, "lower center", {name: TIERS[tier] for tier, name in names.items() if tier in tiers}, ncols=2)
    caption = (
        "Rescaled MAE of the reliable genes of each family (number in brackets), families ordered by the median "
        "improvement of their genes over the null, which predicts the mean of each gene's non-zero values. The "
        "width of a violin is the square root of its number of genes; families of few genes are dots; "
        "a bar is the median. Colours are tiers of the median improvement."
    )
    save(figure, title=f"Errors of gene families, {model.name}", caption=caption, data=rows)


def _dynamics(analysis: Analysis, section: Learnability, save: Save) -> None:
    """Write the medians of families after each epoch, a panel for each model (Figure 2B)."""
    families, epochs = (analysis.tables[f"learnability_{name}"] for name in ("families", "dynamics"))
    figure, axes = panels(len(analysis.models), 4.6, 3.8)
    for axis, model in zip(axes, analysis.models, strict=True):
        rows, tiers = model.rows_of(epochs), model.rows_of(families).set_index("family")["tier"]
        for family, part in rows.groupby("family"):
            colour = TIERS[tiers[family]]
            axis.plot(part["epoch"], part["median_rescaled_mae"], color=colour, lw=1.1, alpha=0.9)
            first = part[part["converged"]].head(1)
            axis.plot(first["epoch"], first["median_rescaled_mae"], "o", color=colour, ms=3.5, mew=0)
        axis.set(title=model.name, xlabel="epoch", ylabel="median rescaled MAE", ylim=(0, None))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        # The easiest families, the one that improves most, and the hardest are named, where there is room.
        ends = rows[rows["epoch"] == rows["epoch"].max()].sort_values("median_rescaled_mae")
        falls = rows.groupby("family")["median_rescaled_mae"].agg(lambda values: values.iloc[0] - values.iloc[-1])
        shown = [*ends["family"].head(3), *falls.sort_values(ascending=False).index[:1], *ends["family"].tail(1)]
        ends = ends.loc[ends["family"].isin(shown), ["epoch", "median_rescaled_mae", "family"]]
        side = {"xytext": (4, 0), "va": "center", "annotation_clip": False}
        name_points(axis, ends.itertuples(index=False), apart=(1, 1 / 28), **side)
    tiers = set(families["tier"])
    looks = {f"tier {tier}": {"color": colour} for tier, colour in TIERS.items() if tier and tier in tiers}
    legend(figure, "upper center", looks, ncols=4)
    caption = (
        f"Median rescaled MAE of each family with {section.min_group} reliable genes or more, after each epoch; "
        "the genes are those reliable in the last epoch. A dot is the epoch of convergence: from there on the "
        f"median stays within {section.convergence:.0%} of the last epoch's. Colours are tiers of the last epoch."
    )
    save(figure, title="How the errors of gene families fall during training", caption=caption, data=epochs)


def _winners(analysis: Analysis, section: Learnability, save: Save) -> None:
    """Write error against sparsity with the trend, a panel for each model (Figure 2C)."""
    figure, axes = panels(len(analysis.models), 4.4, 4.0)
    for axis, model in zip(axes, analysis.models, strict=True):
        genes = model.genes.sort_values("zero_fraction")
        calls = genes.assign(colour=np.select([genes["winner"], genes["loser"]], [WINNER, LOSER], NEITHER))
        calls = calls.iloc[np.argsort(genes["winner"] | genes["loser"], kind="stable")]  # grey goes below
        scatter(axis, calls["zero_fraction"], calls["rescaled_mae"], calls["colour"], alpha=0.7)
        axis.plot(genes["zero_fraction"], genes["expected_mae"], color="black", lw=1.3)
        judged = genes[genes["judged"]]
        for sign in (-1, 1):
            bound = judged["expected_mae"] * np.exp(sign * section.z * judged["local_sd"])
            axis.plot(judged["zero_fraction"], bound, color="black", lw=0.7, ls="--")
        axis.axvline(section.sparse, color=LINE, lw=0.7, ls=":")
        axis.set(xlabel="share of validation cells that do not express the gene", xlim=(0, 1), ylim=(0, 1.1))
        axis.set_ylabel("rescaled MAE where expressed (lower is better)")
        axis.set_title(
            f"{model.name}: winners {genes['winner'].sum():,}, losers {genes['loser'].sum():,}\n"
            f"of {genes['judged'].sum():,} judged genes"
        )
    looks = {"winner": DOT | {"color": WINNER}, "loser": DOT | {"color": LOSER}, "neither": DOT | {"color": NEITHER}}
    looks[f"{section.trend} trend"] = {"color": "black"}
    looks[f"± {section.z:g} local sd"] = {"color": "black", "lw": 0.7, "ls": "--"}
    legend(figure, "upper center", looks, ncols=5)
    absolute = section.practical_scale == "absolute"
    practical = f"{section.practical:g} rescaled MAE" if absolute else f"{section.practical:.0%} of its error"
    caption = (
        f"Each dot is a reliable gene ({section.min_nonzero} non-zero values or more). Winners (losers) lie more "
        f"than {section.z:g} local standard deviations below (above) the trend, on a logarithmic scale, and "
        f"{practical} as well. Right of the dotted line is the sparse regime, where the genes compared "
        f"with are many and diverse. A window with fewer than {section.window_genes} genes judges none."
    )
    columns = ["checkpoint", "decoder", "gene_id", "gene_symbol", "zero_fraction", "rescaled_mae"]
    columns += ["expected_mae", "local_sd", "z", "call"]
    genes = analysis.tables["gene_learnability"]
    data = genes.loc[genes["expected_mae"].notna(), columns]
    save(figure, title="Winners and losers: errors against sparsity", caption=caption, data=data)


def _programs(analysis: Analysis, save: Save) -> None:
    """Write the winner rate of each expression program in all models."""
    names = [model.name for model in analysis.models]
    colours = dict(zip(names, cycle(PALETTE), strict=False))
    rates = _program_rates(analysis)
    programs = list(dict.fromkeys(rates["program"]))
    width = 0.8 / len(names)
    # Beside more than two bars of a program there is no room for text but upright.
    upright = len(names) > 2
    figure, (axis,) = panels(1, 1.5 * max(len(programs), 2) + 2.2, 3.6)
    for row in rates.itertuples():
        x, top = programs.index(row.program) + (row.model - (len(names) - 1) / 2) * width, 0.0
        words = [f"{row.winners}/{row.genes:,}"]
        words += [f"OR {row.odds_ratio:.2f}"] if np.isfinite(row.odds_ratio) else []
        if row.genes < FEW:
            words.append("(too few)")
        else:
            axis.bar(x, 100 * row.winner_rate, 0.92 * width, color=colours[names[row.model]])
            axis.vlines(x, 100 * row.rate_low, 100 * row.rate_high, color="black", lw=0.8)
            top = 100 * row.rate_high
        axis.annotate(
            ("  " if upright else "\n").join(words), (x, top), xytext=(0, 2), textcoords="offset points", fontsize=6.5,
            ha="center", va="bottom", rotation=90 if upright else 0,
        )  # fmt: skip
    # One proxy moves genes between all programs, as the first set that has a gene decides.
    mark = "\n(proxy)" if analysis.proxies else ""
    axis.set_xticks(range(len(programs)), [name.replace("_", " ") + mark for name in programs])
    highest = rates.loc[rates["genes"] >= FEW, "rate_high"].max()
    axis.set(ylabel="winners among judged genes (%)", xlim=(-0.6, len(programs) - 0.4))
    axis.set_ylim(0, 100 * (1 if np.isnan(highest) else min(1, highest)) * (1.4 if upright else 1.2))
    legend(figure, "upper center", colours, ncols=min(4, len(names)))
    note = f" Programs are marked proxy because these sets of genes are: {analysis.proxies}." if mark else ""
    caption = (
        "Share of the judged genes of each expression program that are winners, over the full range of sparsity, "
        "with 95% Wilson intervals; above the bars winners/genes and the odds ratio against the unassigned genes. "
        f"Programs with fewer than {FEW} judged genes have no bar." + note
    )
    data = rates.drop(columns="model")
    save(figure, title="Winner rate by expression program", caption=caption, data=data)


def _program_rates(analysis: Analysis) -> pd.DataFrame:
    """Return winner rate and odds ratio of each program and model; `model` is its index."""
    rows = analysis.tables["learnability_enrichment"].rename(columns={"group": "program"})
    rows = rows[(rows["axis"] == "program") & (rows["regime"] == "all") & (rows["against"] == UNASSIGNED)]
    parts = []
    for i, model in enumerate(analysis.models):
        part = model.rows_of(rows)
        winner = model.genes.loc[model.genes["judged"] & (model.genes["program"] == UNASSIGNED), "winner"]
        if len(winner):
            rate = wilson(winner.sum(), len(winner))
            row = {"program": UNASSIGNED, "genes": len(winner), "winners": winner.sum(), "winner_rate": rate.value}
            row |= {"rate_low": rate.ci_low, "rate_high": rate.ci_high, "reason": "what the others are compared with"}
            part = pd.concat([part, pd.DataFrame([row])], ignore_index=True)
        parts.append(part.assign(model=i, **model.key))
    # In the order of the programs; what is none of them (genes without an annotation) at the end.
    order = {name: i for i, name in enumerate(PROGRAMS)}
    columns = ["checkpoint", "decoder", "program", "model", "genes", "winners", "winner_rate", "rate_low", "rate_high"]
    return pd.concat(parts)[[*columns, "odds_ratio", "fisher_p", "reason"]].sort_values(
        "program", key=lambda names: names.map(order).fillna(len(order)), kind="stable", ignore_index=True
    )


def _pair(a: Model, b: Model, section: Learnability, save: Save) -> None:
    """Write the Z of the genes that two models judge, the most extreme of them named (Figure 2D)."""
    genes = pair(a, b)
    both = genes[genes["both"]].reset_index(drop=True)
    kinds = {
        "winner of both": (both["winner_a"] & both["winner_b"], WINNER),
        f"winner of {a.name} only": (both["winner_a"] & ~both["winner_b"], INDIGO),
        f"winner of {b.name} only": (both["winner_b"] & ~both["winner_a"], CYAN),
        "loser of either": (both["loser_a"] | both["loser_b"], LOSER),
    }
    figure, (axis,) = panels(1, 5.6, 5.4)
    rest = both[~np.any([of_kind for of_kind, _ in kinds.values()], axis=0)]
    scatter(axis, rest["z_a"], rest["z_b"], NEITHER, alpha=0.6)
    looks = {}
    for label, (of_kind, colour) in kinds.items():
        if of_kind.any():
            scatter(axis, both["z_a"][of_kind], both["z_b"][of_kind], colour, s=9)
            looks[f"{label} ({of_kind.sum():,})"] = DOT | {"color": colour}
    for value in (-section.z, section.z):
        axis.axvline(value, color=LINE, lw=0.6, ls=":")
        axis.axhline(value, color=LINE, lw=0.6, ls=":")
    axis.set(xlabel=f"Z of {a.name}  (negative: easier than its sparsity says)", ylabel=f"Z of {b.name}")
    axis.set_title(f"{len(both):,} genes that both models judge")
    # The most extreme genes of the kinds are named in turn.
    extreme = (both["z_a"] + both["z_b"]).abs().sort_values(ascending=False, kind="stable").index
    turns = zip_longest(*(extreme[of_kind[extreme]] for of_kind, _ in kinds.values()))
    named = both.loc[[gene for turn in turns for gene in turn if gene is not None], ["z_a", "z_b", "gene_symbol"]]
    name_points(axis, named.itertuples(index=False), most=section.named)
    legend(figure, "lower center", looks, ncols=2)
    caption = (
        f"Each dot is a gene that both models judge. Named: the winners of both with the lowest mean Z, and the "
        f"most extreme genes of the other colours, {section.named} at most. Dotted lines: |Z| = {section.z:g}. "
        f"In the table, a is {a.name} and b is {b.name}."
    )
    columns = [
        "gene_id",
        "gene_symbol",
        "family",
        "program",
        "z_a",
        "z_b",
        "winner_a",
        "winner_b",
        "loser_a",
        "loser_b",
    ]
    save(figure, title=f"Z of the same genes in {a.name} and {b.name}", caption=caption, data=both[columns])

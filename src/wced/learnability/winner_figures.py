"""Figures of winners: errors by sparsity, winner rates by program, Z of two models (the paper's Figures 2C and 2D)."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wced.config.learnability import Learnability
from wced.figures import save_figure
from wced.learnability.agreement import pair
from wced.learnability.analysis import Analysis
from wced.learnability.enrichment import PROGRAMS, UNASSIGNED
from wced.learnability.figure_style import FEW, LOSER, MODELS, NEITHER, WINNER, dot, pair_name, panels
from wced.learnability.models import Model
from wced.stats import wilson


def winners_figure(analysis: Analysis, section: Learnability, folder: Path) -> None:
    """Write error against sparsity with the trend, a panel for each model."""
    models = analysis.models
    figure, axes = panels(len(models), 4.4, 4.0)
    for axis, model in zip(axes, models, strict=True):
        genes = model.genes.sort_values("zero_fraction")
        colours = np.select([genes["winner"], genes["loser"]], [WINNER, LOSER], NEITHER)
        order = np.argsort(genes["winner"] | genes["loser"], kind="stable")
        shown = genes.iloc[order]
        style = {"s": 4, "linewidths": 0, "alpha": 0.7, "rasterized": True}
        axis.scatter(shown["zero_fraction"], shown["rescaled_mae"], c=colours[order], **style)
        axis.plot(genes["zero_fraction"], genes["expected_mae"], color="black", lw=1.3)
        judged = genes[genes["judged"]]
        for sign in (-1, 1):
            bound = judged["expected_mae"] * np.exp(sign * section.z * judged["local_sd"])
            axis.plot(judged["zero_fraction"], bound, color="black", lw=0.7, ls="--")
        axis.axvline(section.sparse, color="#5C6675", lw=0.7, ls=":")
        axis.set(xlabel="share of validation cells that do not express the gene", xlim=(0, 1), ylim=(0, 1.1))
        axis.set_ylabel("rescaled MAE where expressed (lower is better)")
        axis.set_title(
            f"{model.name}: winners {genes['winner'].sum():,}, losers {genes['loser'].sum():,}\n"
            f"of {genes['judged'].sum():,} judged genes"
        )
    handles = [dot(WINNER, "winner"), dot(LOSER, "loser"), dot(NEITHER, "neither")]
    handles += [mpl.lines.Line2D([], [], color="black", label=f"{section.trend} trend")]
    handles += [mpl.lines.Line2D([], [], color="black", lw=0.7, ls="--", label=f"± {section.z:g} local sd")]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=8)
    columns = ["gene_id", "gene_symbol", "zero_fraction", "rescaled_mae", "expected_mae", "local_sd", "z", "call"]
    genes = analysis.tables["gene_learnability"]
    save_figure(
        folder,
        "winners",
        figure,
        title="Winners and losers: errors against sparsity",
        caption=(
            f"Each dot is a reliable gene ({section.min_nonzero} non-zero values or more). Winners (losers) lie more "
            f"than {section.z:g} local standard deviations below (above) the trend, on a logarithmic scale, and "
            f"{_practical(section)} as well. Right of the dotted line is the sparse regime, where the genes compared "
            f"with are many and diverse. A window with fewer than {section.window_genes} genes judges none."
        ),
        data=genes.loc[genes["expected_mae"].notna(), ["checkpoint", "decoder", *columns]],
    )


def _practical(section: Learnability) -> str:
    if section.practical_scale == "absolute":
        return f"{section.practical:g} rescaled MAE"
    return f"{section.practical:.0%} of its error"


def programs_figure(analysis: Analysis, folder: Path) -> None:
    """Write the winner rate of each expression program in all models."""
    models = analysis.models
    rates = _program_rates(analysis)
    programs = list(dict.fromkeys(rates["program"]))
    width = 0.8 / len(models)
    # Beside more than two bars of a program there is no room for text but upright.
    upright = len(models) > 2
    figure = Figure(figsize=(1.5 * max(len(programs), 2) + 2.2, 3.6), layout="constrained")
    axis = figure.subplots()
    for row in rates.itertuples():
        x = programs.index(row.program) + (row.place - (len(models) - 1) / 2) * width
        label = [f"{row.winners}/{row.genes:,}"]
        if np.isfinite(row.odds_ratio):
            label.append(f"OR {row.odds_ratio:.2f}")
        top = 0.0
        if row.genes < FEW:
            label.append("(too few)")
        else:
            axis.bar(x, 100 * row.winner_rate, 0.92 * width, color=MODELS[row.place % len(MODELS)])
            axis.vlines(x, 100 * row.rate_low, 100 * row.rate_high, color="black", lw=0.8)
            top = 100 * row.rate_high
        axis.annotate(
            ("  " if upright else "\n").join(label), (x, top), xytext=(0, 2), textcoords="offset points", fontsize=6.5,
            ha="center", va="bottom", rotation=90 if upright else 0,
        )  # fmt: skip
    # One proxy moves genes between all programs, as the first set that has a gene decides.
    mark = "\n(proxy)" if analysis.proxies else ""
    axis.set_xticks(range(len(programs)), [name.replace("_", " ") + mark for name in programs])
    highest = rates.loc[rates["genes"] >= FEW, "rate_high"].max()
    axis.set(ylabel="winners among judged genes (%)", xlim=(-0.6, len(programs) - 0.4))
    axis.set_ylim(0, 100 * (1 if np.isnan(highest) else min(1, highest)) * (1.4 if upright else 1.2))
    handles = [mpl.patches.Patch(color=MODELS[i % len(MODELS)], label=model.name) for i, model in enumerate(models)]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)))
    note = f" Programs are marked proxy because these sets of genes are: {analysis.proxies}." if mark else ""
    save_figure(
        folder,
        "programs",
        figure,
        title="Winner rate by expression program",
        caption=(
            "Share of the judged genes of each expression program that are winners, over the full range of sparsity, "
            "with 95% Wilson intervals; above the bars winners/genes and the odds ratio against the unassigned genes. "
            f"Programs with fewer than {FEW} judged genes have no bar." + note
        ),
        data=rates.drop(columns="place"),
    )


def _program_rates(analysis: Analysis) -> pd.DataFrame:
    """Return winner rate and odds ratio of each program and model; `place` is the model's among all."""
    rows = analysis.tables["learnability_enrichment"]
    rows = rows[(rows["axis"] == "program") & (rows["regime"] == "all") & (rows["against"] == UNASSIGNED)]
    genes = analysis.tables["gene_learnability"]
    genes = genes[(genes["call"] != "not judged") & (genes["program"] == UNASSIGNED)]
    columns = ["genes", "winners", "winner_rate", "rate_low", "rate_high", "odds_ratio", "fisher_p", "reason"]
    parts = []
    for place, model in enumerate(analysis.models):
        mine, unassigned = (part[part["checkpoint"] == model.checkpoint] for part in (rows, genes))
        mine, unassigned = (part[part["decoder"] == model.decoder] for part in (mine, unassigned))
        rate = _unassigned_rate(unassigned["call"].eq("winner"))
        both = pd.concat([mine.rename(columns={"group": "program"}), rate], ignore_index=True)
        parts.append(both.assign(place=place, **model.key)[["checkpoint", "decoder", "program", "place", *columns]])
    rates = pd.concat(parts, ignore_index=True)
    # In the order of the programs; what is none of them (genes without an annotation) at the end.
    order = rates["program"].map({name: place for place, name in enumerate(PROGRAMS)}).fillna(len(PROGRAMS))
    return rates.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def _unassigned_rate(winner: pd.Series) -> pd.DataFrame:
    """Return the row of the genes that the programs are compared with; none where no gene is unassigned."""
    genes, winners = len(winner), int(winner.sum())
    if not genes:
        return pd.DataFrame()
    rate = wilson(winners, genes)
    row = {"program": UNASSIGNED, "genes": genes, "winners": winners, "winner_rate": rate.value}
    row |= {"rate_low": rate.ci_low, "rate_high": rate.ci_high, "reason": "what the others are compared with"}
    return pd.DataFrame([row])


def pair_figure(a: Model, b: Model, section: Learnability, folder: Path) -> None:
    """Write the Z of the genes that two models judge, the most extreme of them named."""
    genes = pair(a, b)
    both = genes[genes["judged_a"] & genes["judged_b"]].reset_index(drop=True)
    kinds = {
        "winner of both": (both["winner_a"] & both["winner_b"], WINNER),
        f"winner of {a.name} only": (both["winner_a"] & ~both["winner_b"], MODELS[0]),
        f"winner of {b.name} only": (both["winner_b"] & ~both["winner_a"], MODELS[1]),
        "loser of either": (both["loser_a"] | both["loser_b"], LOSER),
    }
    figure = Figure(figsize=(5.6, 5.4), layout="constrained")
    axis = figure.subplots()
    marked = np.any([which for which, _ in kinds.values()], axis=0)
    rest = both[~marked]
    axis.scatter(rest["z_a"], rest["z_b"], s=4, c=NEITHER, linewidths=0, alpha=0.6, rasterized=True)
    for label, (which, colour) in kinds.items():
        if which.any():
            named = f"{label} ({which.sum():,})"
            axis.scatter(
                both["z_a"][which], both["z_b"][which], s=9, c=colour, linewidths=0, label=named, rasterized=True
            )
    for value in (-section.z, section.z):
        axis.axvline(value, color="#5C6675", lw=0.6, ls=":")
        axis.axhline(value, color="#5C6675", lw=0.6, ls=":")
    axis.set(xlabel=f"Z of {a.name}  (negative: easier than its sparsity says)", ylabel=f"Z of {b.name}")
    axis.set_title(f"{len(both):,} genes that both models judge")
    _name_genes(axis, both, kinds, section.named)
    if marked.any():
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    data = both[
        ["gene_id", "gene_symbol", "family", "program", "z_a", "z_b", "winner_a", "winner_b", "loser_a", "loser_b"]
    ]
    save_figure(
        folder,
        pair_name(a, b),
        figure,
        title=f"Z of the same genes in {a.name} and {b.name}",
        caption=(
            f"Each dot is a gene that both models judge. Named: the winners of both with the lowest mean Z, and the "
            f"most extreme genes of the other colours, {section.named} at most. Dotted lines: |Z| = {section.z:g}. "
            f"In the table, a is {a.name} and b is {b.name}."
        ),
        data=data,
    )


def _name_genes(axis: Axes, both: pd.DataFrame, kinds: dict, most: int) -> None:
    """Name the most extreme genes of each kind in turn, leaving out names that would lie upon another."""
    mean = (both["z_a"] + both["z_b"]) / 2
    ranked = [list(mean[which].abs().sort_values(ascending=False, kind="stable").index) for which, _ in kinds.values()]
    turns = [
        gene for turn in zip(*(each + [-1] * (most - len(each)) for each in ranked), strict=False) for gene in turn
    ]
    wide, high = np.ptp(axis.get_xlim()) / 7, np.ptp(axis.get_ylim()) / 30
    taken: list[tuple[float, float]] = []
    for gene in turns:
        if gene < 0 or len(taken) == most:
            continue
        symbol, x, y = both.loc[gene, ["gene_symbol", "z_a", "z_b"]]
        if all(abs(x - other_x) > wide or abs(y - other_y) > high for other_x, other_y in taken):
            taken.append((x, y))
            axis.annotate(symbol, (x, y), xytext=(3, 2), textcoords="offset points", fontsize=7)

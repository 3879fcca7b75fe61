"""Figures of gene families: errors by tier, and how they fall during training (the paper's Figures 2A and 2B)."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wced.config.learnability import Learnability
from wced.figures import save_figure
from wced.learnability.analysis import Analysis
from wced.learnability.figure_style import FEW, TIERS, panels, rows_of, slug
from wced.learnability.models import Model


def families_figure(analysis: Analysis, model: Model, section: Learnability, folder: Path) -> None:
    """Write the violins of a model's families, ordered by improvement and coloured by tier."""
    rows = rows_of(analysis, "learnability_families", model)
    rows = rows[(rows["reliable"] > 0) & ~rows["family"].isin(list(model.unseen("family")))]
    rows = rows.iloc[::-1].reset_index(drop=True)
    figure = Figure(figsize=(7.2, 0.24 * len(rows) + 1.6), layout="constrained")
    axis = figure.subplots()
    widest = max(rows["reliable"].max(), 1) if len(rows) else 1
    by_family = {family: part["rescaled_mae"].to_numpy() for family, part in model.genes.groupby("family")}
    for place, row in rows.iterrows():
        values = by_family[row["family"]]
        # Area of a violin cannot hold 3 and 6,000 genes at once, so its width is the root of their number.
        width = 0.25 + 0.65 * np.sqrt(row["reliable"] / widest)
        if row["reliable"] >= FEW and np.ptp(values) > 0:
            parts = axis.violinplot(
                [values], [place], orientation="horizontal", widths=width, showextrema=False, points=80
            )
            parts["bodies"][0].set(facecolor=TIERS[row["tier"]], edgecolor="none", alpha=0.85)
        else:
            axis.scatter(values, np.full(len(values), place), s=9, color=TIERS[row["tier"]], linewidths=0)
        axis.plot(np.median(values), place, "|", color="black", ms=6, mew=1.2)
    labels = [f"{row['family']} ({row['reliable']:,})" for _, row in rows.iterrows()]
    axis.set_yticks(np.arange(len(rows)), labels, fontsize=7.5)
    axis.tick_params(axis="y", length=0)
    axis.set(ylim=(-0.8, len(rows) - 0.2), xlabel="rescaled MAE where expressed (lower is better)")
    axis.set_title(f"{model.name}: {len(model.genes):,} reliable genes of {len(model.every):,}", loc="left")
    tier_1, tier_2, tier_3 = (f"{bound:.0%}" for bound in section.tiers)
    names = {
        "1": f"tier 1: {tier_1} or more better than the null",
        "2": f"tier 2: {tier_2} to {tier_1}",
        "3": f"tier 3: {tier_3} to {tier_2}",
        "4": f"tier 4: under {tier_3}, or worse than the null",
        "": f"no tier: fewer than {section.min_group} genes",
    }
    shown = [key for key in names if (rows["tier"] == key).any()]
    handles = [mpl.patches.Patch(color=TIERS[key], label=names[key]) for key in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    save_figure(
        folder,
        f"families_{slug(model)}",
        figure,
        title=f"Errors of gene families, {model.name}",
        caption=(
            "Rescaled MAE of the reliable genes of each family (number in brackets), families ordered by the median "
            "improvement of their genes over the null, which predicts the mean of each gene's non-zero values. The "
            "width of a violin is the square root of its number of genes; families of few genes are dots; "
            "a bar is the median. Colours are tiers of the median improvement."
        ),
        data=rows.iloc[::-1],
    )


def dynamics_figure(analysis: Analysis, section: Learnability, folder: Path) -> None:
    """Write the medians of families after each epoch, a panel for each model."""
    models = analysis.models
    figure, axes = panels(len(models), 4.6, 3.8)
    for axis, model in zip(axes, models, strict=True):
        rows = rows_of(analysis, "learnability_dynamics", model)
        tiers = rows_of(analysis, "learnability_families", model).set_index("family")["tier"]
        for family, part in rows.groupby("family"):
            axis.plot(part["epoch"], part["median_rescaled_mae"], color=TIERS[tiers[family]], lw=1.1, alpha=0.9)
            first = part[part["converged"]].head(1)
            axis.plot(first["epoch"], first["median_rescaled_mae"], "o", color=TIERS[tiers[family]], ms=3.5, mew=0)
        ends = rows[rows["epoch"] == rows["epoch"].max()].sort_values("median_rescaled_mae")
        # The easiest families, the one that improves most, and the hardest are named, where there is room.
        falls = rows.groupby("family")["median_rescaled_mae"].agg(lambda values: values.iloc[0] - values.iloc[-1])
        wanted = [*ends["family"].head(3), *falls.sort_values(ascending=False).index[:1], *ends["family"].tail(1)]
        _name_ends(axis, ends[ends["family"].isin(wanted)])
        axis.set(title=model.name, xlabel="epoch", ylabel="median rescaled MAE", ylim=(0, None))
        axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    tiers = set(analysis.tables["learnability_families"]["tier"])
    shown = [key for key in TIERS if key in tiers]
    handles = [mpl.lines.Line2D([], [], color=TIERS[key], label=f"tier {key}") for key in shown if key]
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
    save_figure(
        folder,
        "dynamics",
        figure,
        title="How the errors of gene families fall during training",
        caption=(
            f"Median rescaled MAE of each family with {section.min_group} reliable genes or more, after each epoch; "
            "the genes are those reliable in the last epoch. A dot is the epoch of convergence: from there on the "
            f"median stays within {section.convergence:.0%} of the last epoch's. Colours are tiers of the last epoch."
        ),
        data=analysis.tables["learnability_dynamics"],
    )


def _name_ends(axis: Axes, ends: pd.DataFrame) -> None:
    """Write the names of lines beside their ends, where no other name stands within a 28th of the axis."""
    top = axis.get_ylim()[1]
    taken: list[float] = []
    for row in ends.itertuples():
        if all(abs(row.median_rescaled_mae - other) > top / 28 for other in taken):
            taken.append(row.median_rescaled_mae)
            axis.annotate(
                row.family, (row.epoch, row.median_rescaled_mae), xytext=(4, 0), textcoords="offset points",
                fontsize=7, verticalalignment="center", annotation_clip=False,
            )  # fmt: skip

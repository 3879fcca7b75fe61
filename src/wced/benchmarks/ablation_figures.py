"""The figure of an ablation: scores of every checkpoint on every dataset, side by side."""

from pathlib import Path

import pandas as pd

from wced.figures import save_figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def dots(folder: Path, ablation: pd.DataFrame, titles: dict[tuple[str, str], str]) -> None:
    """Draw a panel for each metric, a line for each checkpoint: a dot per dataset, a bar at their mean.

    Parameters
    ----------
    folder
        Where `ablation.svg` and what belongs to it goes.
    ablation
        Rows of tables.ABLATION.
    titles
        Heading of the panel of a task and metric, in the order of the panels; metrics without one are not drawn.
    """
    import matplotlib.pyplot as plt

    shown = ablation[ablation["value"].notna()]
    levels = ablation.drop_duplicates("checkpoint").set_index("checkpoint")["levels"]
    place = {name: len(levels) - 1 - i for i, name in enumerate(levels.index)}
    first = levels.str.split(", ").str[0]
    colour = {level: _COLOURS[i % len(_COLOURS)] for i, level in enumerate(dict.fromkeys(first))}
    figure, axes = plt.subplots(
        1, len(titles), figsize=(2.6 + 2.4 * len(titles), 1.2 + 0.32 * len(levels)), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    drawn = []
    for axis, ((task, metric), title) in zip(axes[0], titles.items(), strict=True):
        part = shown[(shown["task"] == task) & (shown["metric"] == metric)]
        datasets = part[part["dataset"] != "mean"]
        for checkpoint, dots_of in datasets.groupby("checkpoint", sort=False):
            y, tint = place[checkpoint], colour[first[checkpoint]]
            axis.plot(dots_of["value"], [y] * len(dots_of), "o", ms=5, color=tint, alpha=0.55, mec="none")
            axis.plot([dots_of["value"].mean()] * 2, [y - 0.32, y + 0.32], color=tint, lw=2.2)
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", color="#dddddd", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        drawn.append(datasets)
    axes[0][0].set_yticks(list(place.values()), [levels[name] for name in place], fontsize=8)
    data = pd.concat(drawn)[["levels", "checkpoint", "task", "metric", "dataset", "value"]]
    factor = first.iloc[0].partition("=")[0]
    save_figure(
        folder,
        "ablation",
        figure,
        title="Ablation",
        caption=(
            "Each line is a checkpoint, each dot its score on one dataset (the error of reconstruction: on validation "
            f"cells of one), each bar the mean. Colours are levels of {factor}."
        ),
        data=data,
    )

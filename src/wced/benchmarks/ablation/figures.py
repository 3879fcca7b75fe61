"""The figure of an ablation: scores of every checkpoint on every dataset, side by side."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import pandas as pd

from wced.benchmarks.job import task_module
from wced.figures import PALETTE, save_figure, styled
from wced.figures.charts import name_rows, panels


@styled
def dots(folder: Path, ablation: pd.DataFrame, metrics: Mapping[str, Sequence[str]]) -> None:
    """Plot a panel for each metric, a line for each checkpoint: a dot per dataset, a bar at their mean.

    `ablation` are rows of tables.ABLATION, `metrics` those of each task that have a panel beside reconstruction.
    """
    titles = {}
    for task, names in {"ablation": ["median_rescaled_mae"], **metrics}.items():
        title_of = {metric.name: metric.title for metric in task_module(task).METRICS}
        titles |= {(task, name): title_of[name] for name in names}
    values = ablation[ablation["value"].notna() & (ablation["dataset"] != "mean")]
    levels = ablation.drop_duplicates("checkpoint").set_index("checkpoint")["levels"]
    rows = {name: i for i, name in enumerate(levels.index)}
    first = levels.str.split(", ").str[0]
    colours = dict(zip(dict.fromkeys(first), cycle(PALETTE), strict=False))
    figure, axes = panels(len(titles), 2.4, 1.2 + 0.32 * len(levels), columns=len(titles), margin=(2.6, 0), sharey=True)
    parts = []
    for axis, ((task, metric), title) in zip(axes, titles.items(), strict=True):
        part = values[(values["task"] == task) & (values["metric"] == metric)]
        for checkpoint, value_d in part.groupby("checkpoint")["value"]:
            y, colour = rows[checkpoint], colours[first[checkpoint]]
            axis.scatter(value_d, [y] * len(value_d), c=colour, s=25, alpha=0.55)
            axis.vlines(value_d.mean(), y - 0.32, y + 0.32, color=colour, lw=2.2)
        name_rows(axis, levels)
        axis.set_title(title)
        parts.append(part)
    data = pd.concat(parts)[["levels", "checkpoint", "task", "metric", "dataset", "value"]]
    caption = (
        "Each line is a checkpoint, each dot its score on one dataset (the error of reconstruction: on validation "
        f"cells of one), each bar the mean. Colours are levels of {first.iloc[0].partition('=')[0]}."
    )
    save_figure(folder, "ablation", figure, title="Ablation", caption=caption, data=data)

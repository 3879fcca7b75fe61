"""Figures over all datasets of the CZI benchmark: z-scores of every model, and score against model size."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from wced.errors import WcedError
from wced.figures import DOT, INDIGO, LINE, PALETTE, ROSE, save_figure, styled
from wced.figures.charts import legend, name_rows, panels

TASK = "czi"
SHOWN = {"avg_bio": "AvgBio (clustering)", "macro_f1": "Macro F1 (classification)"}
"""Metrics of the figures and their names (BMFM-RNA paper, Figure 4)."""
BAR = {
    "avg_bio": {"color": INDIGO},
    "macro_f1": {"facecolor": "#BFE3F5", "edgecolor": INDIGO, "hatch": "////", "linewidth": 0},
}
"""How the bars of each metric look."""
OUTLINED = {"edgecolors": "black", "linewidths": 0.7, "zorder": 3}
MARKERS = "os^Dv"
COLUMNS = ["metric", "dataset", "model", "n_params", "width", "datasets", "value", "rank", "z", "z_sd", "reason"]
"""Columns of tables.RANKING behind the figures."""


def write_figures(ranking: pd.DataFrame, folder: Path) -> None:
    """Write the figures `ranking` and `pareto`, each with its numbers and caption.

    There is none where the CZI benchmark scored no model on all of its datasets, and no `ranking` of a single model,
    which has no z-scores. `ranking` are rows of tables.RANKING; raises WcedError if they are of several runs.
    """
    if len(runs := ranking["run"].unique()) > 1:
        raise WcedError(f"figures are of one run, but the scores are of {', '.join(runs)}")
    scores = ranking[(ranking["task"] == TASK) & ranking["metric"].isin(SHOWN)]
    means = scores[(scores["dataset"] == "all") & (scores["reason"] == "")]
    means = means[means.groupby("model")["metric"].transform("size") == len(SHOWN)]
    if means.empty:
        return
    shown = scores[scores["model"].isin(means["model"])]
    left_out = [model for model in dict.fromkeys(scores["model"]) if model not in set(means["model"])]
    without = f" Not shown, as they lack a score on some dataset: {', '.join(left_out)}." if left_out else ""
    datasets = [name for name in dict.fromkeys(scores["dataset"]) if name != "all"]
    where = f"Datasets: {', '.join(datasets)}; tasks, folds and settings of cz-benchmarks.{without}"
    joint = joint_z(means)
    if joint.notna().all():
        figure, data = _ranking_figure(shown, joint), shown[COLUMNS].assign(joint_z=shown["model"].map(joint))
        caption = (
            "Standard deviations above (right) or below the mean of all models, on each dataset (dots) and averaged "
            "over datasets (bars): AvgBio, the mean of ARI, NMI and silhouette (solid), and macro F1 (hatched). The "
            f"diamond is the mean of the two bars, and orders the models. {where}"
        )
        title = "Models by their joint z-score"
        save_figure(folder, "ranking", figure, title=title, caption=caption, data=data)
    front = pd.concat([on_front(points) for _, points in means.groupby("metric", sort=False)])
    figure, data = _pareto_figure(means.assign(front=front)), means[COLUMNS].assign(front=front)
    caption = (
        "Mean score over datasets against the trained parameters of what embeds; baselines without trained "
        "parameters stand at 0, left of the dotted line. Ringed and joined by the line: the Pareto front, models "
        f"that none of as many parameters or fewer beats. {where}"
    )
    title = "Score against number of parameters"
    save_figure(folder, "pareto", figure, title=title, caption=caption, data=data)


def joint_z(means: pd.DataFrame) -> pd.Series:
    """Return each model's mean of the z-scores of AvgBio and macro F1, the best first; ties by name.

    `means` are rows of tables.RANKING of the dataset `all` and the two metrics.
    """
    z_mp = means.pivot_table(index="model", columns="metric", values="z", dropna=False)
    return z_mp.mean(axis=1, skipna=False).sort_values(ascending=False, kind="stable")


def on_front(points: pd.DataFrame) -> pd.Series:
    """Return whether a model is on the Pareto front: no model of as many parameters or fewer has a higher value.

    `points` has one row per model with `n_params` and `value`.
    """
    n_params, value = points["n_params"].to_numpy(), points["value"].to_numpy()
    beaten = (n_params[None] <= n_params[:, None]) & (value[None] > value[:, None])
    return pd.Series(~beaten.any(axis=1), index=points.index)


@styled
def _ranking_figure(scores: pd.DataFrame, joint: pd.Series) -> Figure:
    y = pd.Series(range(len(joint)), index=joint.index)
    figure, (axis,) = panels(1, 6.2, 0.52 * len(joint) + 1.2)
    for offset, (metric, name) in zip((-0.19, 0.19), SHOWN.items(), strict=True):
        rows = scores[scores["metric"] == metric]
        mean, single = rows[rows["dataset"] == "all"], rows[rows["dataset"] != "all"]
        axis.barh(mean["model"].map(y) + offset, mean["z"], height=0.36, label=name, **BAR[metric])
        label = "one dataset" if metric == "macro_f1" else None
        axis.scatter(single["z"], single["model"].map(y) + offset, s=13, c="white", label=label, **OUTLINED)
    axis.scatter(joint, y, s=42, c=ROSE, marker="D", label="joint z-score", **OUTLINED)
    axis.axvline(0, color="black", lw=0.8)
    name_rows(axis, joint.index)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("z-score, standard deviations from the mean of the models (right is better)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@styled
def _pareto_figure(means: pd.DataFrame) -> Figure:
    looks = {
        model: {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i // len(PALETTE) % len(MARKERS)]}
        for i, model in enumerate(means["model"].unique())
    }
    figure, axes = panels(len(SHOWN), 3.1, 3.6, margin=(1.2, 0))
    for axis, (metric, name) in zip(axes, SHOWN.items(), strict=True):
        rows = means[means["metric"] == metric]
        front = rows[rows["front"]].sort_values(["n_params", "value"])
        axis.plot(front["n_params"], front["value"], color=ROSE, lw=1.5, zorder=1)
        axis.scatter(front["n_params"], front["value"], s=130, facecolors="none", edgecolors=ROSE, linewidths=1.5)
        for row in rows.itertuples():
            axis.scatter(row.n_params, row.value, s=38, zorder=3, **looks[row.model])
        _scale_sizes(axis, rows["n_params"])
        axis.set(title=name, xlabel="trained parameters")
        axis.grid(axis="y")
    axes[0].set_ylabel("mean score over datasets")
    legend(figure, "right center", {model: DOT | look for model, look in looks.items()})
    return figure


def _scale_sizes(axis: Axes, n_params: pd.Series) -> None:
    """Make the x axis logarithmic, with room for models without trained parameters left of a dotted line."""
    trained = n_params[n_params > 0]
    if trained.empty:
        axis.set_xticks([0])
        return
    first, last = (int(np.floor(np.log10(size))) for size in (trained.min(), trained.max()))
    powers = [10.0**power for power in range(first, last + 1)]
    axis.set_xscale("symlog", linthresh=powers[0], linscale=0.5)
    if len(trained) < len(n_params):
        axis.axvline(powers[0] / 2, color=LINE, lw=0.8, ls=":")
        axis.set(xticks=[0, *powers], xlim=(-powers[0] / 2, 2 * trained.max()))
    else:
        axis.set(xticks=powers, xlim=(powers[0] * 0.8, 2 * trained.max()))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))

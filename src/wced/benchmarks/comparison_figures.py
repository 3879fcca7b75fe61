"""Figures over all datasets of the CZI benchmark: z-scores of every model, and score against model size."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from wced.errors import WcedError
from wced.figures import PALETTE, STYLE, save_figure

TASK = "czi"
SHOWN = {"avg_bio": "AvgBio (clustering)", "macro_f1": "Macro F1 (classification)"}
"""Metrics of the figures and their names (BMFM-RNA paper, Figure 4)."""
BAR = {
    "avg_bio": {"color": "#332288"},
    "macro_f1": {"facecolor": "#BFE3F5", "edgecolor": "#332288", "hatch": "////", "linewidth": 0},
}
"""How the bars of each metric look."""
MARKERS = "os^Dv"
FRONT = "#EE6677"
HATCHED = STYLE | {"hatch.linewidth": 0.7}


def write_figures(ranking: pd.DataFrame, folder: Path) -> None:
    """Write the figures `ranking` and `pareto`, each with its numbers and caption.

    None is written where the CZI benchmark scored no model on all of its datasets, and no `ranking` where z-scores need
    more models than there are.

    Parameters
    ----------
    ranking
        Rows of tables.RANKING of one run.
    folder
        Folder to write to.

    Raises
    ------
    WcedError
        If the ranking is of several runs.
    """
    if len(runs := ranking["run"].unique()) > 1:
        raise WcedError(f"figures are of one run, but the scores are of {', '.join(runs)}")
    scores = ranking[(ranking["task"] == TASK) & ranking["metric"].isin(SHOWN)]
    means = scores[(scores["dataset"] == "all") & (scores["reason"] == "")]
    complete = means["model"].value_counts()
    complete = set(complete.index[complete == len(SHOWN)])
    if not complete:
        return
    left_out = [model for model in dict.fromkeys(scores["model"]) if model not in complete]
    without = f" Not shown, as they lack a score on some dataset: {', '.join(left_out)}." if left_out else ""
    datasets = [name for name in dict.fromkeys(scores["dataset"]) if name != "all"]
    where = f"Datasets: {', '.join(datasets)}; tasks, folds and settings of cz-benchmarks.{without}"
    means = means[means["model"].isin(complete)]
    joint = joint_z(means)
    if joint.notna().all():
        shown = scores[scores["model"].isin(complete)]
        save_figure(
            folder,
            "ranking",
            _ranking_figure(shown, joint),
            title="Models by their joint z-score",
            caption=(
                "Standard deviations above (right) or below the mean of all models, on each dataset (dots) and "
                "averaged over datasets (bars): AvgBio, the mean of ARI, NMI and silhouette (solid), and macro F1 "
                f"(hatched). The diamond is the mean of the two bars, and orders the models. {where}"
            ),
            data=_numbers(shown).assign(joint_z=lambda rows: rows["model"].map(joint)),
        )
    front = pd.concat([on_front(points) for _, points in means.groupby("metric", sort=False)])
    save_figure(
        folder,
        "pareto",
        _pareto_figure(means.assign(front=front)),
        title="Score against number of parameters",
        caption=(
            "Mean score over datasets against the trained parameters of what embeds; baselines without trained "
            "parameters stand at 0, left of the dotted line. Ringed and joined by the line: the Pareto front, models "
            f"that none of as many parameters or fewer beats. {where}"
        ),
        data=_numbers(means).assign(front=front),
    )


def joint_z(means: pd.DataFrame) -> pd.Series:
    """Return each model's mean of the z-scores of AvgBio and macro F1, the best first; ties by name.

    Parameters
    ----------
    means
        Rows of tables.RANKING of the dataset `all` and the two metrics.
    """
    z_mp = means.pivot_table(index="model", columns="metric", values="z", dropna=False)
    return z_mp.mean(axis=1, skipna=False).sort_values(ascending=False, kind="stable")


def on_front(points: pd.DataFrame) -> pd.Series:
    """Return whether a model is on the Pareto front: no model of as many parameters or fewer has a higher value.

    Parameters
    ----------
    points
        One row per model with `n_params` and `value`.
    """
    n_params, value = points["n_params"].to_numpy(), points["value"].to_numpy()
    beaten = (n_params[None] <= n_params[:, None]) & (value[None] > value[:, None])
    return pd.Series(~beaten.any(axis=1), index=points.index)


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["metric", "dataset", "model", "n_params", "width", "datasets", "value", "rank", "z", "z_sd", "reason"]]


def _ranking_figure(scores: pd.DataFrame, joint: pd.Series) -> Figure:
    models = list(joint.index)
    places = {model: -float(i) for i, model in enumerate(models)}
    with mpl.rc_context(HATCHED):
        figure = Figure(figsize=(6.2, 0.52 * len(models) + 1.2), layout="constrained")
        axis = figure.subplots()
        for offset, (metric, name) in zip((0.19, -0.19), SHOWN.items(), strict=True):
            rows = scores[scores["metric"] == metric]
            mean, single = rows[rows["dataset"] == "all"], rows[rows["dataset"] != "all"]
            axis.barh(mean["model"].map(places) + offset, mean["z"], height=0.36, label=name, **BAR[metric])
            dot = {"s": 13, "color": "white", "edgecolors": "black", "linewidths": 0.7, "zorder": 3}
            label = "one dataset" if metric == "macro_f1" else None
            axis.scatter(single["z"], single["model"].map(places) + offset, label=label, **dot)
        diamond = {"marker": "D", "s": 42, "color": FRONT, "edgecolors": "black", "linewidths": 0.7, "zorder": 4}
        axis.scatter(joint, [places[model] for model in models], label="joint z-score", **diamond)
        axis.axvline(0, color="black", lw=0.8)
        axis.set_yticks([places[model] for model in models], models)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.margins(y=0.02)
        axis.grid(axis="x", color="#E4E4E4", lw=0.6)
        axis.set_axisbelow(True)
        axis.set_xlabel("z-score, standard deviations from the mean of the models (right is better)")
        figure.legend(loc="outside upper center", ncols=2)
    return figure


def _pareto_figure(means: pd.DataFrame) -> Figure:
    models = list(dict.fromkeys(means["model"]))
    trained = np.log10(means.loc[means["n_params"] > 0, "n_params"].unique())
    low, high = (trained.min(), trained.max()) if len(trained) else (0.0, 0.0)
    pad = max(0.12 * (high - low), 0.25)
    zero = low - 3 * pad
    with mpl.rc_context(HATCHED):
        figure = Figure(figsize=(7.4, 3.6), layout="constrained")
        for axis, (metric, name) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
            rows = means[means["metric"] == metric]
            x = np.where(rows["n_params"] > 0, np.log10(rows["n_params"].clip(lower=1)), zero)
            rows = rows.assign(x=x).set_index("model")
            front = rows[rows["front"]].sort_values(["x", "value"])
            axis.plot(front["x"], front["value"], color=FRONT, lw=1.5, zorder=1)
            axis.scatter(front["x"], front["value"], s=130, facecolors="none", edgecolors=FRONT, linewidths=1.5)
            for i, model in enumerate(models):
                look = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i // len(PALETTE) % len(MARKERS)]}
                label = model if metric == "avg_bio" else None
                axis.scatter(*rows.loc[model, ["x", "value"]], s=38, zorder=3, linewidths=0, label=label, **look)
            if (rows["n_params"] == 0).any() and len(trained):
                axis.axvline(low - 1.5 * pad, color="#999999", lw=0.8, ls=":")
            ticks = {0: zero} if (rows["n_params"] == 0).any() else {}
            ticks |= {10.0**power: power for power in _ticks(low, high)} if len(trained) else {}
            axis.set_xticks(list(ticks.values()), [_short(value) for value in ticks])
            axis.set_xlim(zero - pad, high + 1.5 * pad)
            axis.set(title=name, xlabel="trained parameters")
            axis.grid(axis="y", color="#E4E4E4", lw=0.6)
            axis.set_axisbelow(True)
            axis.set_ylabel("mean score over datasets" if metric == "avg_bio" else "")
        figure.legend(loc="outside right center")
    return figure


def _ticks(low: float, high: float) -> list[float]:
    """Return where a logarithmic axis has ticks: the powers of ten, or where there are few the ends of the data."""
    powers = [float(power) for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    return powers if len(powers) > 1 else sorted({low, high})


def _short(n_params: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n_params >= 0.9995 * size:
            return f"{n_params / size:.3g}{unit}"
    return f"{n_params:.3g}"

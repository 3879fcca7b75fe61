"""The figure of fine-tuned annotation: F1 and accuracy of every mode beside the probes of the frozen embedding."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from wced.benchmarks.scores import Score
from wced.figures import save_figure

_PANELS = {"weighted_f1": "Weighted F1", "macro_f1": "Macro F1", "accuracy": "Accuracy"}


def intervals(
    folder: Path, scores: Mapping[str, Score], methods: Mapping[str, str], probes: tuple[str, ...], *, caption: str
) -> None:
    """Draw the scores of each method with their 95% intervals (BMFM-RNA paper, Figure 5).

    Parameters
    ----------
    folder
        Where `finetuned.svg` and what belongs to it goes.
    scores
        Score of each metric and method, `weighted_f1_full` for example.
    methods
        Name and title of each method, from the top down.
    probes
        Which of them are probes; they are drawn in grey.
    caption
        Which model, on which cells.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(_PANELS), figsize=(8.5, 0.9 + 0.32 * len(methods)), sharey=True, sharex=True, layout="constrained"
    )
    rows = []
    for axis, (metric, title) in zip(axes, _PANELS.items(), strict=True):
        for y, name in enumerate(methods):
            score, colour = scores[f"{metric}_{name}"], "#777777" if name in probes else "#0072B2"
            axis.plot([score.ci_low, score.ci_high], [y, y], color=colour, lw=2)
            axis.plot(score.value, y, "o", color=colour, ms=6)
            rows.append((metric, name, score.value, score.ci_low, score.ci_high))
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", color="#dddddd", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(methods)), list(methods.values()), fontsize=9)
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    save_figure(
        folder,
        "finetuned",
        figure,
        title="Fine-tuned annotation",
        caption=f"{caption} Blue: fine-tuned; grey: classifiers of the frozen embedding. Lines are 95% intervals.",
        data=pd.DataFrame(rows, columns=["metric", "method", "value", "ci_low", "ci_high"]),
    )

"""The figure of fine-tuned annotation: scores of all methods (BMFM-RNA paper, Figure 5)."""

from collections.abc import Mapping, Sequence

import pandas as pd

from wced.benchmarks.finetuned_annotation import MODES, PROBES
from wced.benchmarks.job import Job
from wced.figures import INDIGO, LINE, save_figure, styled
from wced.figures.charts import intervals, name_rows, panels
from wced.stats import Score


@styled
def methods_figure(job: Job, scores: Mapping[str, Score], methods: Sequence[str], cells: int) -> None:
    """Plot the scores of the methods on so many cells, from above, with their intervals."""
    titles = {"weighted_f1": "Weighted F1", "macro_f1": "Macro F1", "accuracy": "Accuracy"}
    keys = [(metric, method) for metric in titles for method in methods]
    table = pd.DataFrame(keys, columns=["metric", "method"])
    for name in ("value", "ci_low", "ci_high"):
        table[name] = [getattr(scores[f"{metric}_{method}"], name) for metric, method in keys]
    figure, axes = panels(3, 8.5 / 3, 0.9 + 0.32 * len(methods), sharex=True, sharey=True)
    colours = [LINE if method in PROBES else INDIGO for method in methods]
    for axis, (metric, title) in zip(axes, titles.items(), strict=True):
        intervals(axis, table[table["metric"] == metric], range(len(methods)), colours)
        name_rows(axis, [MODES[method] for method in methods])
        axis.set_title(title)
    caption = (
        f"{job.model} on {cells} test cells of {job.dataset}. Blue: fine-tuned; grey: classifiers of the frozen "
        "embedding. Lines are 95% intervals."
    )
    save_figure(job.figures, "finetuned", figure, title="Fine-tuned annotation", caption=caption, data=table)

"""The figure of the classes that the classifier predicts."""

import numpy as np
import pandas as pd

from wced.benchmarks.job import Job
from wced.figures import save_figure, styled
from wced.figures.charts import heat_map, panels


@styled
def confusion_figure(job: Job, classes: np.ndarray, confusion_cc: np.ndarray) -> None:
    """Plot which classes the classifier predicts for the cells of each class."""
    size = 1.6 + 0.42 * len(classes)
    figure, (axis,) = panels(1, size + 1.2, size)
    shares = pd.DataFrame(confusion_cc, index=pd.Index(classes, name="true"), columns=classes)
    heat_map(axis, shares, label="share of the class' cells")
    axis.set(xlabel="predicted", ylabel="true")
    title = f"Mechanisms predicted for unseen drugs: {job.model} on {job.dataset}"
    caption = (
        "Share of the cells of each true class (row) that a logistic regression gives each class (column), over "
        "all folds. No drug of the cells that are predicted was among those that trained it."
    )
    save_figure(job.figures, "confusion", figure, title=title, caption=caption, data=shares.reset_index())

"""How many winners and losers there are when one choice of the analysis is made otherwise."""

from itertools import chain

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.models import Model
from wced.learnability.trend import axis_of, fit

SETTINGS = {
    "window": (0.025, 0.05, 0.1, 0.2, 0.4),
    "z": (1.5, 2.0, 2.5, 3.0),
    "practical": (0.0, 0.05, 0.1, 0.2),
    "practical_scale": ("relative", "absolute"),
    "trend": ("isotonic", "lowess"),
    "spread": ("windows", "lowess"),
}
"""Values tried for each key, one key at a time."""


def sensitivity(model: Model, section: Learnability) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_SENSITIVITY of a model: the config first, then each other setting."""
    sparse = model.regime("sparse")
    error_g = model.genes["rescaled_mae"].to_numpy()
    varied = chain.from_iterable([(key, value) for value in values] for key, values in SETTINGS.items())
    rows = []
    for key, value in [("none", ""), *((key, value) for key, value in varied if value != getattr(section, key))]:
        changed = section if key == "none" else section.model_copy(update={key: value})
        axis = axis_of(model.axis.zero_fraction_g, changed.window) if key == "window" else model.axis
        found = fit(axis, error_g, changed)
        rows.append(
            {
                **model.key,
                "key": key,
                "setting": str(value),
                "judged": int(np.isfinite(found.z_g).sum()),
                "winners": int(found.winner_g.sum()),
                "winners_sparse": int((found.winner_g & sparse).sum()),
                "losers": int(found.loser_g.sum()),
                "same_winners": int((found.winner_g & model.fitted.winner_g).sum()),
                "variance_explained": found.explained,
            }
        )
    return pd.DataFrame(rows)

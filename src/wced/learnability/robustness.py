"""How far the calls of winners can be relied on: other choices of the analysis, and winners that are planted.

Errors are simulated around a model's own trend with its own local standard deviations, on the zero fractions of its
genes: log e = f(s) + σ(s) ε with normal ε. For planted winners ε is minus their Z. The analysis then starts from the
errors.
"""

from itertools import chain

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.models import Model
from wced.learnability.trend import axis_of, fit
from wced.progress import progress
from wced.tables import LEARNABILITY_SIMULATION

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


def simulation(model: Model, section: Learnability, seed: int) -> pd.DataFrame:
    """Return the rows of tables.LEARNABILITY_SIMULATION of a model.

    Parameters
    ----------
    model
        Whose judged genes are simulated.
    section
        The analysis, and what is planted.
    seed
        Seed of the errors and of which genes are planted.
    """
    rng = np.random.default_rng(seed)
    judged_g = model.genes["judged"].to_numpy()
    axis = axis_of(model.axis.zero_fraction_g[judged_g], section.window)
    trend_g, spread_g = model.fitted.trend_g[judged_g], model.fitted.spread_g[judged_g]
    n = len(trend_g)
    rows = []
    for planted_z in (0.0, *section.simulation.z):
        planted = round(section.simulation.share * n) if planted_z else 0
        row = {**model.key, "planted_z": planted_z, "repeats": section.simulation.repeats, "genes": n}
        row |= {"planted": planted, "reason": ""}
        if planted_z and planted == 0:
            row["reason"] = f"{section.simulation.share:.0%} of {n} judged genes are none"
        elif n == 0:
            row["reason"] = "no judged genes"
        else:
            row |= _rates(axis, trend_g, spread_g, planted, planted_z, section, rng)
            if planted == 0:
                row["reason"] = "nothing is planted: only false positives are counted"
        rows.append(row)
    return pd.DataFrame(rows, columns=LEARNABILITY_SIMULATION.names)


def _rates(axis, trend_g, spread_g, planted: int, planted_z: float, section: Learnability, rng) -> dict[str, float]:
    n, repeats = len(trend_g), section.simulation.repeats
    found = wrong = losers = 0
    for _ in progress(range(repeats), f"simulation, Z = {planted_z:g}", unit="repeats"):
        noise_g = rng.standard_normal(n)
        chosen = rng.choice(n, planted, replace=False)
        noise_g[chosen] = -planted_z
        result = fit(axis, np.exp(trend_g + spread_g * noise_g), section)
        hits = int(result.winner_g[chosen].sum())
        found += hits
        wrong += int(result.winner_g.sum()) - hits
        losers += int(np.delete(result.loser_g, chosen).sum())
    others = repeats * (n - planted)
    return {
        "recall": found / (repeats * planted) if planted else np.nan,
        "false_positive_rate": wrong / others,
        "precision": found / (found + wrong) if found + wrong else np.nan,
        "losers_rate": losers / others,
    }

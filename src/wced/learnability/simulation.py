"""Whether the analysis finds winners that are planted, and calls none that are not.

Errors are drawn around a model's own trend with its own local standard deviations, on the zero fractions of its genes:
log e = f(s) + σ(s) ε with normal ε. For planted winners ε is minus their Z. The analysis then starts from the errors.
"""

import numpy as np
import pandas as pd

from wced.config.learnability import Learnability
from wced.learnability.models import Model
from wced.learnability.trend import axis_of, fit
from wced.progress import progress


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
    columns = [*rows[0], "recall", "false_positive_rate", "precision", "losers_rate"]
    return pd.DataFrame(rows).reindex(columns=list(dict.fromkeys(columns)))


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

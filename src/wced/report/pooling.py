"""Models that differ in nothing but the seed of their weights, as one row: the mean, with the spread over seeds."""

from collections.abc import Mapping

import pandas as pd

from wced.tables import SCORES


def pooled(scores: pd.DataFrame, seeds: Mapping[str, int]) -> pd.DataFrame:
    """Return scores with the models of several seeds as one model, which has the name and the place of the first.

    Its value is the mean over seeds; in place of an interval stand the lowest and the highest. Where one of them has no
    value, there is none.

    Parameters
    ----------
    scores
        Rows of tables.SCORES.
    seeds
        Seed of each model; with fewer than two, the scores are returned as they are.

    Returns
    -------
    pd.DataFrame
        Rows of tables.SCORES.
    """
    several = scores["model"].isin(list(seeds))
    if len(seeds) < 2 or not several.any():
        return scores
    first = next(iter(seeds))
    alike = [name for name in SCORES.key if name != "model"]
    places, rows = [], []
    for _, group in scores[several].groupby(alike, sort=False):
        places.append(group.index[0])
        rows.append(_mean(group) | {"model": first})
    means = pd.DataFrame(rows, index=places)
    return pd.concat([scores[~several], means]).sort_index(kind="stable").reset_index(drop=True)


def _mean(group: pd.DataFrame) -> dict[str, object]:
    row = group.iloc[0].to_dict() | {"ci_method": ""}
    without = group[group["reason"] != ""]
    if len(without):
        found = without.iloc[0]
        said = found["reason"] if len(without) == len(group) else f"{found['model']}: {found['reason']}"
        return row | {"value": float("nan"), "ci_low": float("nan"), "ci_high": float("nan"), "reason": said}
    values = group["value"]
    return row | {"value": values.mean(), "ci_low": values.min(), "ci_high": values.max()}


def pooling_note(seeds: Mapping[str, int]) -> str:
    """Return what says how seeds were pooled."""
    listed = ", ".join(map(str, seeds.values()))
    return (
        f"mean over {len(seeds)} draws of fresh weights (seeds {listed}), in small print the lowest and the highest of "
        "them; the file has each"
    )

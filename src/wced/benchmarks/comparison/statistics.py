"""Paired differences between models over datasets, ranks and z-scores."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from wced.benchmarks.job import task_module
from wced.stats import adjusted, over_datasets
from wced.tables import COMPARISONS, RANKING, checked

COMPARED = ["run", "task", "protocol", "label", "metric"]
"""Scores are compared only where these are the same."""
SOURCES = ("here", "external")
"""Sources of scores that were computed here; published ones never enter a statistic."""
TESTED = 5
"""Fewest datasets for a test: with fewer, no outcome of a signed-rank test has p below 0.1."""
ROUNDING = 1e-12
"""Scores that differ by no more are equal: they are sums of floats."""


def differences(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare each pair of models at each metric of each task, paired over datasets; rows of tables.COMPARISONS.

    The interval of the mean difference is a bootstrap over datasets (up to 5 datasets all resamples, so nothing is
    random). With 5 datasets or more, p is that of Wilcoxon's signed-rank test, which assumes no normal differences
    (Demšar 2006, Statistical comparisons of classifiers over multiple data sets, JMLR 7:1-30), corrected by Holm's
    method over all pairs of models at the metric. Of n datasets, p is 2^(1 - n) at least.

    `scores` are rows of tables.SCORES, of several tasks and datasets. Several splits of a dataset are averaged,
    so that a dataset counts once. Left out are published scores, and metrics that their task does not rank models by.
    """
    rows = []
    for facts, field in _fields(scores):
        # Not unstack(sort=False), which mixes values up when the rows of a model are contiguous (pandas 2.3.3).
        value_dm = field.pivot(index="dataset", columns="model", values="value")  # noqa: PD010
        better = 1 if field["higher_is_better"].iloc[0] else -1
        pairs = [
            _pair((value_dm[a] - value_dm[b]).dropna().to_numpy(), better) | {"model_a": a, "model_b": b}
            for a, b in combinations(dict.fromkeys(field["model"]), 2)
        ]
        adjusted_p = adjusted([pair["p"] for pair in pairs], "holm")
        facts["higher_is_better"] = better == 1
        rows += [facts | pair | {"p_adjusted": p} for pair, p in zip(pairs, adjusted_p, strict=True)]
    return checked(pd.DataFrame(rows, columns=COMPARISONS.names), COMPARISONS)


def ranking(scores: pd.DataFrame) -> pd.DataFrame:
    """Rank the models at each metric, on each dataset and over all of them; rows of tables.RANKING.

    The rank is among all models with a score on the dataset. z = (score - mean) / standard deviation, both over these
    models, with the sign turned where lower is better (BMFM-RNA paper, Figure 4a: z-scores relative to the field's
    mean). Rows of the dataset `all` are means over the datasets on which any model has a score, with the standard
    deviation of ranks and z-scores; a model that lacks one of them has none, and says so.
    """
    tables, columns = [], RANKING.names
    for facts, field in _fields(scores):
        ranked = pd.concat([_ranked(part) for _, part in field.groupby("dataset", sort=False)])
        tables.append(pd.concat([ranked, _overall(ranked)]).assign(**facts))
    table = pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
    return checked(table, RANKING)


def _fields(scores: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Yield what scores have in common that may be compared, and one row for each of their datasets and models."""
    scores = scores[scores["source"].isin(SOURCES)]
    kinds = [
        (task, metric.name, metric.higher_is_better)
        for task in dict.fromkeys(scores["task"])
        for metric in task_module(task).METRICS
        if metric.ranks
    ]
    scores = scores.merge(pd.DataFrame(kinds, columns=["task", "metric", "higher_is_better"]), on=["task", "metric"])
    scores = scores.assign(reason=scores["reason"].replace("", None))
    # A mean over splits is one over all of them: where one has no value, there is none.
    groups = scores.groupby([*COMPARED, "dataset", "model", "n_params", "width", "higher_is_better"], sort=False)
    table = groups.agg(value=("value", lambda values: values.mean(skipna=False)), reason=("reason", "first"))
    for common, field in table.reset_index().fillna({"reason": ""}).groupby(COMPARED, sort=False):
        yield dict(zip(COMPARED, common, strict=True)), field


def _pair(difference_d: np.ndarray, better: int) -> dict[str, object]:
    """Return what is known of the differences of two models over datasets."""
    from scipy import stats

    n = len(difference_d)
    mean = over_datasets(difference_d)
    difference_d = np.where(np.abs(difference_d) > ROUNDING, difference_d, 0)
    p, p_reason = np.nan, ""
    if n < TESTED:
        p_reason = f"{n} datasets are fewer than {TESTED}"
    elif not difference_d.any():
        p_reason = "the models do not differ on any dataset"
    else:
        p = float(stats.wilcoxon(difference_d).pvalue)
    return {
        "datasets": n,
        "difference": difference_d.mean() if n else np.nan,
        "ci_low": mean.ci_low,
        "ci_high": mean.ci_high,
        "ci_method": mean.ci_method,
        "wins_a": int((better * difference_d > 0).sum()),
        "wins_b": int((better * difference_d < 0).sum()),
        "p": p,
        "test": "" if p_reason else "Wilcoxon signed-rank; Holm over pairs of models",
        "p_reason": p_reason,
        "reason": "" if n else "no dataset on which both have a score",
    }


def _ranked(field: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one dataset with rank and z-score."""
    value = field["value"] * (1 if field["higher_is_better"].iloc[0] else -1)
    spread = value.std(ddof=0) if value.max() - value.min() > ROUNDING else np.nan
    rank, z = value.rank(ascending=False, method="average"), (value - value.mean()) / spread
    return field.assign(datasets=1, rank=rank, rank_sd=np.nan, z=z, z_sd=np.nan)


def _overall(ranked: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model with the means over the datasets."""
    scored = list(dict.fromkeys(ranked.loc[ranked["reason"] == "", "dataset"]))
    rows = []
    for model, field in ranked.groupby("model", sort=False):
        has = field[field["reason"] == ""]
        lacks = [dataset for dataset in scored if dataset not in set(has["dataset"])]
        reason = f"no score on {', '.join(lacks)}" if lacks else "" if scored else field["reason"].iloc[0]
        row = field.iloc[0].to_dict() | {"dataset": "all", "model": model, "datasets": len(has), "reason": reason}
        for name in ("value", "rank", "z"):
            row[name] = np.nan if reason else has[name].mean(skipna=name != "z")
        for name in ("rank", "z"):
            row[f"{name}_sd"] = np.nan if reason else has[name].std(ddof=1)
        rows.append(row)
    return pd.DataFrame(rows)

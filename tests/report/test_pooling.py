import numpy as np
import pandas as pd
import pytest

from wced.report.pooling import pooled, pooling_note
from wced.tables import SCORES, checked

SEEDS = {"untrained": 0, "untrained_1": 1, "untrained_2": 2}


def scores(values, *, metric="up", reasons=()) -> pd.DataFrame:
    rows = [
        {"model": model, "metric": metric, "value": value, "ci_low": 0.0, "ci_high": 1.0, "ci_method": "bootstrap",
         "reason": dict(reasons).get(model, "")}
        for model, value in values.items()
    ]  # fmt: skip
    facts = {"run": "r", "task": "t", "dataset": "d", "protocol": "p", "split": "all", "label": "l", "n": 9,
             "n_params": 3, "width": 2, "seed": 0, "source": "here", "leakage": "none"}  # fmt: skip
    return checked(pd.DataFrame(rows).assign(**facts), SCORES)


def test_seeds_are_one_row_in_the_place_of_the_first():
    made = pooled(scores({"a": 0.9, "untrained": 0.3, "untrained_1": 0.6, "untrained_2": 0.6, "hvg": 0.1}), SEEDS)
    assert made["model"].tolist() == ["a", "untrained", "hvg"]
    row = checked(made, SCORES).iloc[1]
    assert row["value"] == pytest.approx(0.5) and (row["ci_low"], row["ci_high"], row["ci_method"]) == (0.3, 0.6, "")
    assert made.loc[0, "ci_high"] == 1


def test_metrics_and_datasets_stay_apart():
    values = dict.fromkeys(SEEDS, 0.5)
    other = scores(values, metric="down")
    both = pd.concat([scores(values), other, other.assign(dataset="e")], ignore_index=True)
    assert pooled(both, SEEDS)[["metric", "dataset"]].to_numpy().tolist() == [["up", "d"], ["down", "d"], ["down", "e"]]


@pytest.mark.parametrize(
    ("lost", "reason"),
    [({"untrained_1": "one class"}, "untrained_1: one class"), (dict.fromkeys(SEEDS, "one class"), "one class")],
    ids=["one seed", "all seeds"],
)
def test_a_seed_without_a_value_leaves_none(lost, reason):
    values = {model: np.nan if model in lost else 0.5 for model in SEEDS}
    (row,) = checked(pooled(scores(values, reasons=lost.items()), SEEDS), SCORES).itertuples()
    assert np.isnan(row.value) and row.reason == reason


def test_one_seed_and_no_seed_change_nothing():
    frame = scores({"a": 0.9, "untrained": 0.3})
    for seeds in ({}, {"untrained": 0}):
        pd.testing.assert_frame_equal(pooled(frame, seeds), frame)
    without = scores({"a": 0.9})
    pd.testing.assert_frame_equal(pooled(without, SEEDS), without)


def test_the_note_names_the_seeds():
    assert "3 draws of fresh weights (seeds 0, 1, 2)" in pooling_note(SEEDS)

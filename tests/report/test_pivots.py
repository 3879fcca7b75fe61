import pandas as pd
import pytest

from wced.report.pivots import TASKS, Metric, model_table, pivot, sampling_steps, verdict

METRIC = Metric("x", "X")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"ours": 0.7, "hvg": 0.5}, "0.200 above the best baseline, hvg (0.500)", id="above"),
        pytest.param({"ours": 0.5, "hvg": 0.7}, "0.200 BELOW the best baseline, hvg (0.700)", id="below"),
        pytest.param({"ours": 0.5, "hvg": 0.5}, "level with the best baseline", id="level"),
        pytest.param({"ours": 0.5, "hvg": None}, "no baseline can be scored", id="no baseline"),
        pytest.param({"ours": 0.5, "better": 0.6, "hvg": 0.1}, "the best trained model is better (0.600)", id="two"),
    ],
)
def test_verdict_says_whether_a_baseline_wins(values, said):
    assert said in verdict(pd.Series(values, dtype=float), METRIC, ["hvg"])


def test_verdict_is_silent_where_nothing_was_scored():
    assert verdict(pd.Series({"ours": None, "hvg": None}, dtype=float), METRIC, ["hvg"]) == ""


def scores(task, values: dict[str, float | None]) -> pd.DataFrame:
    rows = [
        {
            "run": "r", "task": task, "dataset": "d", "protocol": "p", "split": "all", "label": "l", "model": model,
            "metric": metric.name, "value": value, "ci_low": None, "ci_high": None, "ci_method": "", "n": 1234,
            "n_params": 3, "width": 2, "seed": 0, "source": "here", "leakage": "none",
            "reason": "" if value is not None else "no head",
        }
        for model, value in values.items()
        for metric in TASKS[task][1]
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"value": float, "ci_low": float, "ci_high": float})


def test_pivot_marks_the_best_and_explains_gaps():
    made = pivot(scores("zero_shot_annotation", {"b": 0.5, "a": 0.25, "hvg": None}), "zero_shot_annotation", {"hvg"})
    cells = {model: row[0] for model, row in made.rows}
    assert list(cells) == ["b", "a", "hvg"]
    assert (cells["b"].value, cells["b"].best, cells["a"].best) == ("0.500", True, False)
    assert (cells["hvg"].value, cells["hvg"].note) == ("–", "a") and made.notes == (("a", "no head"),)


def test_reach_is_no_achievement_of_a_model():
    made = pivot(scores("zero_shot_annotation", {"a": 0.5}), "zero_shot_annotation", set())
    best = {metric.name: cell.best for metric, cell in zip(made.metrics, made.rows[0][1], strict=True)}
    assert best["accuracy_exact"] and not best["reachable_exact"]


@pytest.mark.parametrize("task", TASKS)
def test_columns_are_the_metrics_that_the_task_gives(task):
    import importlib

    module = importlib.import_module(f"wced.benchmarks.{task}")
    shown = {metric.name for metric in TASKS[task][1]}
    if task == "zero_shot_integration":
        assert shown == {*module.BIO, *module.BATCH, "avg_bio", "avg_batch", "overall"}
    elif task == "cell_type_classification":
        assert shown == {f"{m}{c}" for m in module.METRICS for c in ("", *(f"_{c}" for c in module.CLASSIFIERS))}
    else:
        assert shown == {*module.ACCURACIES, *module.REACHABLE}


def test_model_table_has_one_row_per_model():
    table = model_table([scores("zero_shot_annotation", {"a": 0.5, "b": 0.5})])
    assert table["model"].tolist() == ["a", "b"] and table["dataset"].tolist() == ["d", "d"]


def test_sampling_steps_sum_up_their_strata():
    rows = [
        (1, "fraction", "", "all", 100, 60),
        (2, "cap", "tissue", "eye", 50, 20),
        (2, "cap", "tissue", "lung", 10, 10),
    ]
    columns = ["step", "kind", "by", "stratum", "cells_there", "cells_taken"]
    made = sampling_steps(pd.DataFrame(rows, columns=columns))
    assert made.to_numpy().tolist() == [[1, "fraction", "", 1, 1, 100, 60, 60], [2, "cap", "tissue", 2, 1, 60, 30, 20]]
    assert len(sampling_steps(pd.DataFrame(columns=columns))) == 0

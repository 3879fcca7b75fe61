import numpy as np
import pandas as pd
import pytest

from wced.benchmarks.task import Metric
from wced.report.pivots import Cell, Pivot, model_table, pivots, pooled, pooling_note, sampling_steps, verdict
from wced.tables import SCORES, checked

UP, DOWN = Metric("up", "Up", headline=True), Metric("down", "Down", higher_is_better=False)
METRICS = (UP, DOWN, Metric("reach", "Reach", ranks=False))
COLUMNS = ["model", "metric", "value", "ci_low", "ci_high", "reason"]
SEEDS = {"untrained": 0, "untrained_1": 1, "untrained_2": 2}


def scores(*rows, **common) -> pd.DataFrame:
    """Return rows of tables.SCORES from model, metric, value, and optionally ends of the interval and the reason."""
    filled = [(*row, *[None] * (5 - len(row)), "") if len(row) < 6 else row for row in rows]
    frame = pd.DataFrame(filled, columns=COLUMNS).astype({"value": float, "ci_low": float, "ci_high": float})
    facts = {"run": "r", "task": "t", "dataset": "d", "protocol": "p", "split": "all", "label": "l", "ci_method": "",
             "n": 1234, "n_params": 3, "width": 2, "seed": 0, "source": "here", "leakage": "none (0 of 9)"}  # fmt: skip
    return frame.assign(**facts | common)


NONE = scores()


def pivot_of(*rows, **common) -> Pivot:
    (pivot,) = pivots(scores(*rows, **common), METRICS, kind, NONE)
    return pivot


def kind(model) -> str:
    return {"hvg": "baseline", "scgpt": "external"}.get(model, "model")


def shown(pivot) -> dict[str, tuple[Cell, ...]]:
    return {row.model: row.cells for row in pivot.rows}


def test_models_keep_their_order_and_gaps_are_explained():
    pivot = pivot_of(("b", "up", 0.5), ("a", "up", 0.25), ("hvg", "up", None, None, None, "no head"))
    assert [(row.model, row.kind) for row in pivot.rows] == [("b", "model"), ("a", "model"), ("hvg", "baseline")]
    assert [metric.name for metric in pivot.metrics] == ["up"]
    assert shown(pivot)["hvg"] == (Cell("–", note="a"),) and pivot.notes == (("a", "no head"),)
    assert (pivot.dataset, pivot.n, pivot.protocol, pivot.split) == ("d", 1234, "p", "all")


def test_the_best_is_marked_and_what_its_interval_overlaps_is_a_tie():
    pivot = pivot_of(
        ("a", "up", 0.8, 0.7, 0.9), ("b", "up", 0.6, 0.5, 0.71), ("c", "up", 0.5, 0.4, 0.69), ("d", "up", 0.79)
    )
    assert [cells[0].mark for cells in shown(pivot).values()] == ["best", "tie", "", ""]
    assert shown(pivot)["a"][0] == Cell("0.800", "0.700 to 0.900", "best", number="0.8")


def test_the_lowest_is_best_where_lower_is_better_and_equal_values_are_all_best():
    pivot = pivot_of(("a", "down", 0.2), ("b", "down", 0.1), ("c", "down", 0.1))
    assert [cells[0].mark for cells in shown(pivot).values()] == ["", "best", "best"]


def test_metrics_that_do_not_rank_are_not_marked():
    pivot = pivot_of(("a", "reach", 0.5), ("a", "up", 0.5))
    assert [cell.mark for cell in shown(pivot)["a"]] == ["best", ""]


def test_a_metric_missing_for_one_model_is_an_empty_cell_and_other_metrics_are_not_shown():
    pivot = pivot_of(("a", "up", 0.5), ("a", "down", 0.5), ("b", "up", 0.4), ("a", "f1_of_a_class", 0.1))
    assert len(pivot.metrics) == 2 and shown(pivot)["b"][1] == Cell("")


def test_datasets_and_splits_have_their_own_pivots():
    parts = [scores(("a", "up", 0.5), dataset=dataset, split=split) for dataset in "de" for split in ("x", "y")]
    made = pivots(pd.concat(parts, ignore_index=True), METRICS, kind, NONE)
    assert [(one.dataset, one.split) for one in made] == [("d", "x"), ("d", "y"), ("e", "x"), ("e", "y")]


def test_leakage_is_marked_on_the_model():
    parts = [scores(("a", "up", 0.5)), scores(("b", "up", 0.5), leakage="fitted on these cells")]
    (pivot,) = pivots(pd.concat(parts, ignore_index=True), METRICS, kind, NONE)
    assert [row.note for row in pivot.rows] == ["", "a"] and pivot.notes == (("a", "fitted on these cells"),)


def test_a_note_of_a_model_is_beside_its_leakage():
    frame = scores(("a", "up", 0.5), leakage="fitted on these cells")
    (pivot,) = pivots(frame, METRICS, kind, NONE, {"a": "mean over 3 seeds"})
    assert pivot.rows[0].note == "a, b" and pivot.notes[1] == ("b", "mean over 3 seeds")


def test_published_numbers_are_below_and_never_best():
    published = pd.concat(
        [
            scores(("Paper", "up", 0.99), ("Paper", "f2", 1), protocol="table 4: scib", source="published"),
            scores(("Lost", "up", None, None, None, "not in the text"), protocol="table 4: scib", source="published"),
            scores(("Paper", "down", 0.1), protocol="table 5: f", source="published"),
            scores(("Paper", "up", 0.98), dataset="another", source="published"),
            scores(("Other", "f2", 0.98), source="published"),
        ],
        ignore_index=True,
    )
    (pivot,) = pivots(scores(("a", "up", 0.5), ("a", "down", 0.5)), METRICS, kind, published)
    kinds = [(row.model, row.kind) for row in pivot.rows]
    assert kinds == [("a", "model"), ("Paper", "published"), ("Lost", "published")]
    assert shown(pivot)["a"][0].mark == "best" and [cell.value for cell in shown(pivot)["Paper"]] == ["0.990", "0.100"]
    assert shown(pivot)["Lost"] == (Cell("–", note="c"), Cell(""))
    assert [row.note for row in pivot.rows] == ["", "a, b", "a"]
    assert dict(pivot.notes) == {"a": "table 4: scib", "b": "table 5: f", "c": "not in the text"}
    assert "0.99" not in " ".join(pivot.verdicts)


def test_notes_go_on_after_z():
    pivot = pivot_of(*[(f"m{i}", "up", None, None, None, f"reason {i}") for i in range(28)])
    assert [letter for letter, _ in pivot.notes][24:] == ["y", "z", "aa", "bb"]


@pytest.mark.parametrize(
    ("rows", "metric", "expected"),
    [
        ([("ours", 0.7), ("hvg", 0.5)], UP, "0.200 better than the best baseline, hvg (0.500)."),
        ([("ours", 0.5), ("hvg", 0.7)], UP, "0.200 WORSE than the best baseline, hvg (0.700)."),
        ([("ours", 0.5), ("hvg", 0.7)], DOWN, "0.200 better than the best baseline, hvg"),
        ([("ours", 0.5), ("hvg", 0.5)], UP, "level with the best baseline"),
        ([("ours", 0.5), ("scgpt", 0.9), ("hvg", 0.4)], UP, "best trained model is ours"),
        ([("ours", 0.5), ("hvg", None)], UP, "no baseline can be scored"),
        ([("ours", 0.5), ("b", 0.6), ("hvg", 0.1)], UP, "the best trained model is b (0.600)"),
        ([("ours", 0.5, 0.4, 0.6), ("hvg", 0.55, 0.45, 0.65)], UP, "; their intervals overlap."),
        ([("ours", 0.5, 0.4, 0.6), ("hvg", 0.9, 0.8, 1.0)], UP, "hvg (0.900)."),
        ([("ours", None), ("hvg", None)], UP, ""),
    ],
    ids=["above", "below", "lower", "level", "external", "no baseline", "two", "overlap", "apart", "nothing"],
)
def test_verdict_says_whether_a_baseline_wins(rows, metric, expected):
    frame = scores(*[(model, metric.name, *values) for model, *values in rows]).set_index("model")
    text = verdict(frame, metric, kind)
    assert (text == "") == (expected == "")
    assert text.endswith(expected) if expected.endswith(".") else expected in text


def test_model_table_has_one_row_per_model():
    table = model_table([scores(("a", "up", 0.5), ("b", "up", 0.5)), scores(("a", "down", 0.5), dataset="e")])
    assert table["model"].tolist() == ["a", "b"] and table["dataset"].tolist() == ["d, e", "d"]
    assert model_table([]).empty


def test_sampling_steps_sum_their_strata():
    rows = [
        (1, "fraction", "", "all", 100, 60),
        (2, "cap", "tissue", "eye", 50, 20),
        (2, "cap", "tissue", "lung", 10, 10),
    ]
    columns = ["step", "kind", "by", "stratum", "cells_there", "cells_taken"]
    steps = sampling_steps(pd.DataFrame(rows, columns=columns))
    assert steps.to_numpy().tolist() == [[1, "fraction", "", 1, 1, 100, 60, 60], [2, "cap", "tissue", 2, 1, 60, 30, 20]]
    assert len(sampling_steps(pd.DataFrame(columns=columns))) == 0


def of_models(values, metric="up", reasons=()) -> pd.DataFrame:
    """Return scores of models whose intervals are from 0 to 1."""
    rows = [(model, metric, value, 0.0, 1.0, dict(reasons).get(model, "")) for model, value in values.items()]
    return checked(scores(*rows, ci_method="bootstrap"), SCORES)


def test_seeds_are_one_row_in_the_position_of_the_first():
    rows = pooled(of_models({"a": 0.9, "untrained": 0.3, "untrained_1": 0.6, "untrained_2": 0.6, "hvg": 0.1}), SEEDS)
    assert rows["model"].tolist() == ["a", "untrained", "hvg"]
    row = checked(rows, SCORES).iloc[1]
    assert row["value"] == pytest.approx(0.5) and (row["ci_low"], row["ci_high"], row["ci_method"]) == (0.3, 0.6, "")
    assert rows.loc[0, "ci_high"] == 1


def test_metrics_and_datasets_are_pooled_separately():
    values = dict.fromkeys(SEEDS, 0.5)
    other = of_models(values, "down")
    both = pd.concat([of_models(values), other, other.assign(dataset="e")], ignore_index=True)
    assert pooled(both, SEEDS)[["metric", "dataset"]].to_numpy().tolist() == [["up", "d"], ["down", "d"], ["down", "e"]]


@pytest.mark.parametrize(
    ("missing", "reason"),
    [({"untrained_1": "one class"}, "untrained_1: one class"), (dict.fromkeys(SEEDS, "one class"), "one class")],
    ids=["one seed", "all seeds"],
)
def test_a_seed_without_a_value_leaves_none(missing, reason):
    values = {model: np.nan if model in missing else 0.5 for model in SEEDS}
    (row,) = checked(pooled(of_models(values, reasons=missing.items()), SEEDS), SCORES).itertuples()
    assert np.isnan(row.value) and row.reason == reason


def test_one_seed_and_no_seed_change_nothing():
    frame, without = of_models({"a": 0.9, "untrained": 0.3}), of_models({"a": 0.9})
    for rows, seeds in ((frame, {}), (frame, {"untrained": 0}), (without, SEEDS)):
        pd.testing.assert_frame_equal(pooled(rows, seeds), rows)


def test_the_note_names_the_seeds():
    assert "3 samples of untrained weights (seeds 0, 1, 2)" in pooling_note(SEEDS)

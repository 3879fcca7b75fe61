import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clouds import clouds, job
from wced.benchmarks.probe import CLASSIFIERS, METRICS, Probe
from wced.benchmarks.probe import score as probe

T, B, NK = "CL:0000084", "CL:0000236", "CL:0000623"
SECTION = Probe(datasets=["d"])
LABELS = [T, B, NK, T, B] * 24
BATCHES = ["x"] * 40 + ["y"] * 40 + ["z"] * 40


def scored(labels, batches, section=SECTION, seed=0):
    cells = clouds(labels, batches)
    cells.obs["donor_id"] = cells.obs["batch"]
    return probe.score(job(cells, section, seed=seed)).set_index("metric")


def test_scores_are_those_of_scikit_learn_with_each_batch_left_out():
    # Types so near to each other that some cells are wrong.
    cells = clouds(LABELS, BATCHES)
    cells.X[:, 0] /= 4
    true, batch, predicted = np.array(LABELS), np.array(BATCHES), np.empty(120, dtype="U10")
    for held_out in "xyz":
        test = batch == held_out
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(cells.X[~test], true[~test])
        predicted[test] = model.predict(cells.X[test])
    table = probe.score(job(cells, SECTION)).set_index("metric")
    assert table.loc["accuracy_lr", "value"] == pytest.approx((true == predicted).mean())
    assert table.loc["macro_f1_lr", "value"] == pytest.approx(f1_score(true, predicted, average="macro"))
    assert table.loc["weighted_f1_lr", "value"] == pytest.approx(f1_score(true, predicted, average="weighted"))
    assert 0.4 < table.loc["accuracy_lr", "value"] < 1
    assert table.loc["lcad_errors_lr", "n"] == (true != predicted).sum()
    share = (true != predicted).mean()
    assert table.loc["lcad_lr", "value"] == pytest.approx(share * table.loc["lcad_errors_lr", "value"])
    assert set(table["n"]) - {(true != predicted).sum(), table.loc["lcad_errors_sgd", "n"]} == {120}


def test_separate_clouds_are_told_apart_and_intervals_hold_the_value():
    table = scored(LABELS, BATCHES)
    assert table.loc["macro_f1_lr", "value"] > 0.95 and table.loc["accuracy_sgd", "value"] > 0.7
    known = table[table["reason"] == ""]
    assert ((known["ci_low"] <= known["value"]) & (known["value"] <= known["ci_high"])).all()
    assert set(table.index) == {metric.name for metric in METRICS}


def test_a_batch_is_never_on_both_sides(monkeypatch):
    cells, sides = clouds(LABELS, BATCHES), []
    cells.X[:, 3] = np.repeat([1.0, 2.0, 3.0], 40)  # which batch it is

    def predictions(x_train_nd, true_train_n, x_test_nd, seed):
        sides.append((set(x_train_nd[:, 3].tolist()), set(x_test_nd[:, 3].tolist())))
        return {name: np.full(len(x_test_nd), T) for name in CLASSIFIERS}

    monkeypatch.setattr(probe, "predictions", predictions)
    probe.score(job(cells, SECTION))
    probe.score(job(cells, SECTION.model_copy(update={"folds": 2})))
    assert len(sides) == 3 + 2
    assert all(not train & test for train, test in sides)
    assert [set.union(*(test for _, test in part)) for part in (sides[:3], sides[3:])] == [{1, 2, 3}] * 2


def test_types_of_one_batch_are_not_scored_but_counted():
    table = scored([*LABELS, *["CL:0000576"] * 7], [*BATCHES, *["x"] * 7])
    row = table.loc["macro_f1_lr"]
    assert row["n"] == 120 and row["value"] > 0.85
    assert row["split"].endswith("7 cells of 1 types that no training cell of theirs has")


def test_cells_without_a_type_or_a_donor_are_left_out_and_counted():
    labels, donors = list(LABELS), list(BATCHES)
    labels[:3], donors[2:9] = ["unknown"] * 3, ["unknown"] * 7
    row = scored(labels, donors, Probe(datasets=["d"], group="donor_id")).loc["accuracy_lr"]
    assert row["n"] == 111
    assert row["split"].startswith(
        "3 folds of 3 donor_id; left out: 3 cells without a cell type, 6 of these with one without a donor_id"
    )


def test_more_groups_than_folds_are_dealt_out_whole():
    row = scored(LABELS, [f"b{i // 10}" for i in range(120)]).loc["accuracy_lr"]
    assert row["split"].startswith("5 folds of 12 batch;") and row["n"] == 120


@pytest.mark.parametrize(
    ("labels", "batches", "reason"),
    [
        pytest.param(LABELS, ["x"] * 120, "the labelled cells have 1 batch", id="one batch"),
        pytest.param(["unknown"] * 120, BATCHES, "the labelled cells have 0 batch", id="no labels"),
        pytest.param([T] * 40 + [B] * 40 + [NK] * 40, BATCHES, "no training cell is of any test cell", id="all unseen"),
    ],
)
def test_what_cannot_be_computed_is_empty_with_its_reason(labels, batches, reason):
    table = scored(labels, batches)
    assert set(table.index) == {metric.name for metric in METRICS}
    assert table["value"].isna().all() and table["reason"].str.contains(reason).all() and set(table["n"]) == {0}


def test_one_type_is_predicted_without_fitting():
    table = scored([T] * 120, BATCHES)
    assert table.loc["accuracy_lr", "value"] == 1
    assert table.loc["lcad_errors_lr", "reason"] == "no cell is wrong"


def test_labels_outside_the_ontology_have_no_distance():
    table = scored(["here", "there", "here", "there"] * 30, BATCHES)
    assert table.loc["accuracy_lr", "value"] > 0.9
    assert table.loc["lcad_lr", "reason"].startswith("here is not in the Cell Ontology")


def test_the_same_seed_gives_the_same_scores():
    assert scored(LABELS, BATCHES, seed=3).equals(scored(LABELS, BATCHES, seed=3))

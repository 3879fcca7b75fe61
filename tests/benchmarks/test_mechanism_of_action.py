import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from clouds import embedding, job, scib_scores
from wced.benchmarks.mechanism_of_action import METRICS, MechanismOfAction
from wced.benchmarks.mechanism_of_action.score import class_of_drug, drug_folds, probe, responding, score, too_small
from wced.errors import WcedError

SECTION = MechanismOfAction(
    datasets=["d"], drug_column="drug", class_column="moa", min_class_size=20, repeats=2, neighbours=10
)


def screen(classes=3, drugs=4, cells=12, effect=3.0, seed=0) -> AnnData:
    """Cells of drugs; each drug moves its cells as its class does, and a little of its own."""
    rng = np.random.default_rng(seed)
    drug_n = np.repeat(np.arange(classes * drugs), cells)
    class_n = drug_n % classes
    x_nd = rng.normal(size=(len(drug_n), 8)) + 0.3 * rng.normal(size=(classes * drugs, 8))[drug_n]
    x_nd[np.arange(len(drug_n)), class_n] += effect
    obs = pd.DataFrame(
        {"drug": [f"drug {i}" for i in drug_n], "moa": pd.Categorical([f"class {c}" for c in class_n])},
        index=[f"c{i}" for i in range(len(drug_n))],
    )
    return embedding(x_nd.astype(np.float32), obs)


def scored(cells, section=SECTION, **options) -> pd.DataFrame:
    return score(job(cells, section, seed=3, **options)).set_index("metric")


@pytest.fixture(scope="module")
def planted():
    cells = screen()
    return cells, scored(cells)


def test_planted_mechanisms_are_told_from_unseen_drugs(planted):
    table = planted[1]
    assert table.loc["auc", "value"] > 0.95 and (table["reason"] == "").all()
    assert table.loc["avg_bio", "value"] > 0.5
    assert (table.loc["auc", ["ci_low", "ci_high"]] > 0.85).all()
    assert set(table["n"]) == {144, 48} and table.loc["auc:class 1", "n"] == 48
    assert set(table["label"]) == {"moa"}
    assert {metric.name for metric in METRICS} <= set(table.index)


def test_drugs_without_a_mechanism_are_not_told():
    """Drugs differ, and classes are names only: a split that let a drug on both sides would tell them."""
    cells = screen(classes=2, drugs=16, cells=8, effect=0.0)
    rng = np.random.default_rng(1)
    own = 3 * rng.normal(size=(32, 8))
    cells.X += own[cells.obs["drug"].str[5:].astype(int)].astype(np.float32)
    table = scored(cells)
    assert 0.3 < table.loc["auc", "value"] < 0.7
    assert table.loc["auc", "ci_low"] < 0.5 < table.loc["auc", "ci_high"]


def test_values_are_means_of_scikit_learn_over_folds(planted):
    cells, table = planted
    drug_n, class_n = cells.obs["drug"].to_numpy(str), cells.obs["moa"].to_numpy(str)
    by_hand = {"auc": [], "recall": [], "f1": [], "recall:class 2": []}
    for _, drugs in drug_folds(drug_n, class_n, folds=2, repeats=2, seed=3).groupby(["repeat", "fold"])["drug"]:
        test = np.isin(drug_n, drugs)
        x_nd = (cells.X - cells.X[~test].mean(axis=0)) / cells.X[~test].std(axis=0)
        model = LogisticRegression(max_iter=1000).fit(x_nd[~test], class_n[~test])
        true, predicted, probability = class_n[test], model.predict(x_nd[test]), model.predict_proba(x_nd[test])
        by_hand["auc"].append(roc_auc_score(true, probability, multi_class="ovr", average="macro"))
        by_hand["recall"].append(recall_score(true, predicted, average="macro"))
        by_hand["f1"].append(f1_score(true, predicted, average="macro"))
        by_hand["recall:class 2"].append((predicted[true == "class 2"] == "class 2").mean())
    for metric, values in by_hand.items():
        assert table.loc[metric, "value"] == pytest.approx(np.mean(values), abs=2e-3), metric
        # Nadeau and Bengio: each half trains on as many cells as it is tested on.
        half = 3.182446 * np.sqrt((1 / 4 + 1) * np.var(values, ddof=1))
        assert table.loc[metric, "ci_low"] == pytest.approx(np.mean(values) - half, abs=1e-2), metric


def test_avg_bio_is_of_scib_metrics(planted):
    cells, table = planted
    _, direct = scib_scores(cells.X, cells.obs["moa"].to_numpy(str), 10, range(3, 8))
    for metric, value in direct.items():
        assert table.loc[metric, "value"] == pytest.approx(value, abs=1e-6), metric
    assert table.loc["avg_bio", "value"] == pytest.approx(np.mean(list(direct.values())), abs=1e-6)


def test_confusion_by_hand():
    """Two drugs of each class; the cells of one drug of class b look like class a."""
    x_nd = np.repeat([[-1.0], [-1.0], [1.0], [-1.0]], 10, axis=0)
    drug_n, class_n = np.repeat(["a1", "a2", "b1", "b2"], 10), np.repeat(["a", "a", "b", "b"], 10)
    folds = drug_folds(drug_n, class_n, folds=2, repeats=9, seed=0)
    folds = folds.groupby(["repeat", "fold"]).filter(lambda fold: "b2" in fold["drug"].tolist())
    scores, confusion_cc = probe(x_nd, drug_n, class_n, folds, seed=0)
    np.testing.assert_array_equal(confusion_cc, [[1, 0], [1, 0]])
    assert (scores["recall:a"].value, scores["recall:b"].value, scores["recall"].value) == (1, 0, 0.5)
    assert scores["f1:a"].value == pytest.approx(2 / 3) and scores["auc"].value == 0.5


def dosed():
    cells = screen(classes=2, drugs=3, cells=8)
    rng = np.random.default_rng(0)
    cells.obs["dose"] = np.where(np.arange(cells.n_obs) % 2, 1e4, 10.0)
    cells.obs["viability"] = np.where(cells.obs["drug"].isin(["drug 0", "drug 1"]), 0.9, 0.5)
    cells.obs.loc[cells.obs["dose"] == 10.0, "viability"] = 1.0
    cells.obs["moa"] = cells.obs["moa"].astype(object)
    cells.obs.iloc[:3, 1] = ["Vehicle", "unknown", np.nan]
    return cells[rng.permutation(cells.n_obs)].copy()


@pytest.mark.parametrize("keep", ["cells", "drugs"])
def test_cells_that_respond(keep):
    """Drugs 2 to 5 are below the limit at the high dose, where half of their cells are."""
    rule = {"dose_column": "dose", "dose": 10_000, "viability_column": "viability", "keep": keep}
    cells = dosed()
    kept, left_out = responding(cells.obs, SECTION.model_copy(update=rule))
    strong = ~cells.obs["drug"].isin(["drug 0", "drug 1"])
    expected = strong & (cells.obs["dose"] == 1e4) if keep == "cells" else strong
    np.testing.assert_array_equal(kept, expected)
    assert left_out.startswith("left out: 2 cells without a drug or class, 1 of controls, ")
    words = {
        "cells": "29 by the rule `dose 10000 and viability below 0.85`",
        "drugs": "13 by the rule `drugs of a mean viability below 0.85 at dose 10000`",
    }
    assert left_out.endswith(words[keep])


def test_without_columns_of_dose_and_viability_all_treated_cells_are_kept():
    kept, left_out = responding(dosed().obs, SECTION)
    assert kept.sum() == 45 and left_out == "left out: 2 cells without a drug or class, 1 of controls"


def test_a_class_that_cannot_be_held_out_says_why():
    cells = screen(classes=3, drugs=3, cells=12)
    lonely = cells.obs["drug"].isin(["drug 2", "drug 5"])
    few = cells.obs["moa"] == "class 1"
    cells = cells[~lonely & ~(few & (np.arange(cells.n_obs) % 2 == 0))]
    table = scored(cells)
    assert table.loc["auc:class 2", "reason"] == "one drug only; 2 are needed to hold one out in each fold"
    assert table.loc["auc:class 1", "reason"] == "18 cells, fewer than 20"
    assert table.loc["auc", "reason"].startswith("fewer than two classes are left (class 1: 18 cells")
    assert table.loc["auc:class 0", "reason"] == "there is no other class"
    assert table["value"].isna().all()


def test_reasons_are_of_drugs_first():
    drug_n, class_n = np.array(["x", "y", "z", "u", "v"]), np.array(["a", "a", "b", "c", "c"])
    section = SECTION.model_copy(update={"min_class_size": 2})
    assert too_small(drug_n, class_n, section) == {"b": "one drug only; 2 are needed to hold one out in each fold"}


def test_figures_name_the_drugs_of_each_fold(tmp_path):
    section = SECTION.model_copy(update={"repeats": 1})
    scored(screen(), section, figures=tmp_path)
    held_out = pd.read_csv(tmp_path / "held_out_drugs.tsv", sep="\t")
    assert held_out["drug"].is_unique and len(held_out) == 12
    assert (held_out.groupby(["fold", "class"]).size() == 2).all()
    confusion = pd.read_csv(tmp_path / "confusion.tsv", sep="\t", index_col="true")
    np.testing.assert_allclose(confusion.sum(axis=1), 1, atol=1e-5)
    assert (tmp_path / "confusion.svg").exists() and "unseen drugs" in (tmp_path / "confusion.md").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_column": "nothing"}, "dataset d: obs has no column nothing; .* extra_obs"),
        ({"viability_column": "drug"}, 'dataset d: obs column drug: Unable to parse string "drug 0"'),
    ],
    ids=["no column", "no numbers"],
)
def test_a_column_that_does_not_fit_is_named(change, words):
    with pytest.raises(WcedError, match=words):
        scored(screen(), SECTION.model_copy(update=change))


def test_a_drug_of_two_classes_is_named():
    cells = screen()
    cells.obs["moa"] = ["class 2", *cells.obs["moa"][1:]]
    with pytest.raises(WcedError, match="dataset d: drug drug 0 has cells of the classes class 0 and class 2"):
        scored(cells)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"dose": 1.0}, "dose_column and dose belong together"), ({"keep": "drugs"}, "needs viability_column")],
)
def test_settings_that_belong_together(change, words):
    with pytest.raises(ValueError, match=words):
        MechanismOfAction(datasets=["d"], **change)


@st.composite
def screens(draw):
    """Any number of folds, of classes with at least as many drugs, and of cells of each drug."""
    folds = draw(st.integers(2, 4))
    drugs_of_class = draw(st.lists(st.integers(folds, 3 * folds), min_size=1, max_size=6))
    class_of = np.repeat(np.arange(len(drugs_of_class)), drugs_of_class)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    drug_n = rng.permutation(np.repeat(np.arange(len(class_of)), rng.integers(1, 6, len(class_of))))
    names = np.array([f"drug {'abc'[i % 3]}{i}" for i in range(len(class_of))])
    return folds, names[drug_n], np.array([f"class {c}" for c in class_of[drug_n]])


@given(screens(), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_whole_drugs_of_every_class_are_held_out(screen, repeats, seed):
    folds, drug_n, class_n = screen
    table = drug_folds(drug_n, class_n, folds=folds, repeats=repeats, seed=seed)
    for _, held_out in table.groupby("repeat"):
        assert sorted(held_out["drug"]) == sorted({*drug_n}), "each drug once a repeat"
    by_fold = table.groupby(["repeat", "fold"])
    assert list(by_fold.groups) == [(r, f) for r in range(repeats) for f in range(folds)]
    drugs_of = {name: {*drug_n[class_n == name]} for name in {*class_n}}
    for _, held_out in by_fold:
        for name, drugs in drugs_of.items():
            test = {*held_out.loc[held_out["class"] == name, "drug"]}
            assert test <= drugs and 0 < len(test) < len(drugs), "every class on both sides"
            assert len(test) in (len(drugs) // folds, -(-len(drugs) // folds)), "stratified"


def test_repeats_and_seeds_differ_and_a_seed_repeats():
    drug_n, class_n = np.array([f"d{i}" for i in range(16)]), np.array(["a", "b"] * 8)

    def dealt(seed):
        folds = drug_folds(drug_n, class_n, folds=2, repeats=5, seed=seed)
        return [frozenset(drugs) for _, drugs in folds.groupby(["repeat", "fold"])["drug"]]

    assert dealt(0) == dealt(0) != dealt(1)
    assert len({*dealt(0)}) == 10


def test_an_odd_drug_is_held_out_with_either_fold():
    """Three drugs in two folds: which fold holds two of them out is random, not always the first."""
    folds = drug_folds(np.array(["x", "y", "z"]), np.array(["a"] * 3), folds=2, repeats=40, seed=0)
    assert {*folds[folds["fold"] == 0].groupby("repeat").size()} == {1, 2}


def test_a_drug_has_one_class():
    of_drug = class_of_drug(np.array(["y", "x", "y"]), np.array(["b", "a", "b"]))
    assert of_drug.to_dict() == {"x": "a", "y": "b"}
    with pytest.raises(WcedError, match="drug x has cells of the classes a and b"):
        class_of_drug(np.array(["x", "y", "x"]), np.array(["a", "a", "b"]))

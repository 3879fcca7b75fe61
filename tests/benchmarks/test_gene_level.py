import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score, r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from clouds import embedding, job
from wced.benchmarks.gene_level import METRICS, GeneLevel
from wced.benchmarks.gene_level.score import ALPHAS, _auc, score

N, SECTION = 400, GeneLevel(folds=4, min_cells=5, min_family=20)


def vectors(seed=0, **changes):
    """Genes whose first three dimensions tell their family, specificity and program, with noise; five say nothing."""
    rng = np.random.default_rng(seed)
    family, tau = rng.choice(["Kinase", "Ribosome", "Unclassified"], N), rng.random(N)
    identity = rng.random(N) < 0.3
    x_gd = rng.normal(size=(N, 8))
    x_gd[:, 0] += 3 * (family == "Kinase")
    x_gd[:, 1] = tau + rng.normal(0, 0.2, N)
    x_gd[:, 2] += identity
    family[:5] = "Small"
    obs = pd.DataFrame(
        {
            "train_cells": np.where(np.arange(N) % 10 == 9, 4, 5), "family": family,
            "program": np.where(identity, "identity", "unassigned"), "tissue_specificity_tau": tau,
            "cell_type_specificity_tau": np.where(np.arange(N) < 30, np.nan, 1 - tau),
        },
        index=[f"ENSG{i}" for i in range(N)],
    )  # fmt: skip
    return embedding(x_gd, obs.assign(**changes))


def held_out(genes, y, chosen, model, split):
    """Predictions of each chosen gene by a model of the others, by hand."""
    x, y = genes.X[chosen], y[chosen]
    out = np.empty(len(y)) if y.dtype.kind == "f" else np.empty((len(y), len(np.unique(y))))
    for train, test in split.split(x, y):
        scaler = StandardScaler().fit(x[train])
        fitted = model.fit(scaler.transform(x[train]), y[train])
        predict = fitted.predict if y.dtype.kind == "f" else fitted.predict_proba
        out[test] = predict(scaler.transform(x[test]))
    return y, out


def test_scores_are_those_of_scikit_learn_over_the_chosen_genes():
    genes = vectors()
    table = score(job(genes, SECTION, seed=7)).set_index("metric")
    assert list(table.index) == [metric.name for metric in METRICS]
    obs, seen = genes.obs, (genes.obs["train_cells"] >= 5).to_numpy()
    kfold, stratified = KFold(4, shuffle=True, random_state=7), StratifiedKFold(4, shuffle=True, random_state=7)

    tau = obs["cell_type_specificity_tau"].to_numpy(float)
    true, predicted = held_out(genes, tau, seen & ~np.isnan(tau), RidgeCV(ALPHAS), kfold)
    row = table.loc["r2_cell_type"]
    assert row["value"] == pytest.approx(r2_score(true, predicted)) and row["n"] == len(true) == 333
    assert 0.5 < row["ci_low"] < row["value"] < row["ci_high"] < 0.9

    family = obs["family"].to_numpy(str)
    logistic = LogisticRegression(C=0.01, max_iter=1000)
    chosen = seen & np.isin(family, ["Kinase", "Ribosome"])
    true, probability = held_out(genes, family, chosen, logistic, stratified)
    predicted = np.array(["Kinase", "Ribosome"])[probability.argmax(axis=1)]
    expected = f1_score(true, predicted, average="macro")
    assert table.loc["macro_f1_family", "value"] == pytest.approx(expected) and expected > 0.8
    assert table.loc["macro_f1_family", "n"] == chosen.sum()

    program = obs["program"].to_numpy(str)
    true, probability = held_out(genes, program, seen, logistic, stratified)
    expected = roc_auc_score(true == "identity", probability[:, 0])
    row = table.loc["auc_identity"]
    assert row["value"] == pytest.approx(expected) and row["ci_low"] < expected < row["ci_high"]
    assert table["split"].str.contains(f"{seen.sum()} of 400").all() and (table["reason"] == "").all()


def test_the_interval_of_an_area_by_hand():
    # Three of four pairs are in order; Q1 = 0.75 / 1.25, Q2 = 2 · 0.75² / 1.75, SE² = 0.305357 / 4.
    area = _auc(np.array([True, True, False, False]), np.array([2.0, 4.0, 1.0, 3.0]))
    assert (area.value, area.ci_low, area.ci_high) == pytest.approx((0.75, 0.75 - 1.96 * 0.276296, 1.0), abs=1e-6)


def test_vectors_that_say_nothing_score_like_chance():
    genes = vectors()
    genes.X = np.random.default_rng(1).normal(size=(N, 8))
    table = score(job(genes, SECTION, seed=7)).set_index("metric")["value"]
    assert abs(table["r2_tissue"]) < 0.1 and abs(table["auc_identity"] - 0.5) < 0.12


@pytest.mark.parametrize(
    ("changes", "metrics", "reason"),
    [
        pytest.param({"family": "Kinase"}, ["macro_f1_family", "accuracy_family"], "1 classes", id="one family"),
        pytest.param({"family": "unknown"}, ["macro_f1_family"], "0 classes", id="no family"),
        pytest.param({"program": "unassigned"}, ["auc_identity"], "1 classes", id="no identity"),
        pytest.param({"tissue_specificity_tau": np.nan}, ["r2_tissue"], "0 genes", id="no tau"),
        pytest.param({"train_cells": 0}, [metric.name for metric in METRICS], "", id="never seen"),
    ],
)
def test_what_cannot_be_computed_says_why(changes, metrics, reason):
    table = score(job(vectors(**changes), SECTION)).set_index("metric")
    assert sorted(table.index[table["value"].isna()]) == sorted({*metrics, *table.index[table["reason"] != ""]})
    assert table.loc[metrics, "reason"].str.contains(reason).all() and (table.loc[metrics, "reason"] != "").all()

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from clouds import clouds
from wced.benchmarks.transfer import METRICS, score
from wced.embedding.baselines import LEAKAGE
from wced.errors import WcedError

T, B, NK, MAST = "CL:0000084", "CL:0000236", "CL:0000623", "CL:0000097"


def scored(test, train, seed=0):
    return score(SimpleNamespace(run="r", seed=seed, embedding=test, reference=train)).set_index("metric")


def near(labels, seed, **facts):
    """Return clouds so near to each other that some cells are wrong."""
    cells = clouds(labels, ["x"] * len(labels), seed=seed, **facts)
    cells.X[:, 0] /= 3
    return cells


def test_scores_are_those_of_scikit_learn_on_the_shared_types():
    test = near([T, B, NK, T, "unknown", MAST] * 20, 1)
    train = near([T, B, NK, "CL:0000576", "unknown"] * 30, 2, dataset="other")
    labels, types = (cells.obs["cell_type_ontology_term_id"].to_numpy(str) for cells in (train, test))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train.X[labels != "unknown"], labels[labels != "unknown"])
    shared = np.isin(types, [T, B, NK])
    predicted = model.predict(test.X[shared])
    table = scored(test, train)
    assert table.loc["accuracy_lr", "value"] == pytest.approx((predicted == types[shared]).mean())
    assert table.loc["macro_f1_lr", "value"] == pytest.approx(f1_score(types[shared], predicted, average="macro"))
    assert 0.3 < table.loc["accuracy_lr", "value"] < 1
    row = table.loc["accuracy_lr"]
    assert (row["task"], row["dataset"], row["n"]) == ("transfer", "d", 80)
    assert row["split"] == (
        "trained on 120 cells of other; left out: 20 cells without a cell type, 20 cells of 1 types that it lacks"
    )


@pytest.mark.parametrize(
    ("labels", "facts", "reason"),
    [
        pytest.param([MAST] * 20, {}, "no cell is of a type that other has", id="nothing shared"),
        pytest.param([T, B] * 10, {"leakage": LEAKAGE}, "fitted to each dataset apart", id="no shared dimensions"),
    ],
)
def test_what_cannot_be_computed_is_empty_with_its_reason(labels, facts, reason):
    table = scored(near(labels, 1, **facts), near([T, B] * 20, 2, dataset="other", **facts))
    assert set(table.index) == {metric.name for metric in METRICS}
    assert table["value"].isna().all() and table["reason"].str.contains(reason).all()


@pytest.mark.parametrize(("facts", "said"), [({"model": "n"}, "model n and m"), ({"width": 9}, "width 9 and 4")])
def test_embeddings_that_do_not_fit_are_refused(facts, said):
    with pytest.raises(WcedError, match=f"transfer from other to d: their embeddings are of {said}"):
        scored(near([T, B] * 10, 1), near([T, B] * 10, 2, dataset="other", **facts))

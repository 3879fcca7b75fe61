import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import stats

from wced.benchmarks.cell_type_classification import score
from wced.config.benchmarks import Classification

SECTION = Classification(datasets=["d"], folds=3, min_class_size=8)


def embedding(labels) -> AnnData:
    rng = np.random.default_rng(0)
    x_nd = rng.normal(size=(len(labels), 3)).astype(np.float32)
    x_nd[:, 0] += 1.5 * pd.factorize(np.array(labels))[0]
    obs = pd.DataFrame(
        {"cell_type_ontology_term_id": pd.Categorical(labels)}, index=[f"c{i}" for i in range(len(labels))]
    )
    facts = {"model": "m", "dataset": "d", "n_params": 5, "width": 3, "leakage": "none"}
    return AnnData(X=x_nd, obs=obs, uns={"wced": facts})


LABELS = ["CL:1", "CL:2", "CL:3", "CL:1", "unknown"] * 12 + ["CL:9"] * 5


@pytest.fixture(scope="module")
def table():
    return score(embedding(LABELS), SECTION, run="r", seed=1)


@pytest.fixture(scope="module")
def task():
    """Return cz-benchmarks' own run on the labelled cells."""
    from czbenchmarks.tasks.label_prediction import MetadataLabelPredictionTask, MetadataLabelPredictionTaskInput

    kept = embedding(LABELS)
    kept = kept[kept.obs["cell_type_ontology_term_id"] != "unknown"]
    task_input = MetadataLabelPredictionTaskInput(
        labels=kept.obs["cell_type_ontology_term_id"].astype(str), n_folds=3, min_class_size=8
    )
    return MetadataLabelPredictionTask(random_seed=1).run(np.asarray(kept.X), task_input)


@pytest.mark.parametrize("classifier", ["lr", "knn", "rf", "MEAN(knn,lr,rf)"])
@pytest.mark.parametrize(("ours", "theirs"), [("macro_f1", "mean_fold_f1"), ("accuracy", "mean_fold_accuracy")])
def test_values_are_those_of_cz_benchmarks(table, task, classifier, ours, theirs):
    expected = [
        result.value for result in task
        if result.metric_type.value == theirs and result.params["classifier"] == classifier
    ]  # fmt: skip
    metric = ours if classifier.startswith("MEAN") else f"{ours}_{classifier}"
    assert table.set_index("metric").loc[metric, "value"] == pytest.approx(expected[0])


def test_interval_is_that_of_t_over_the_folds(table):
    row = table.set_index("metric").loc["accuracy_lr"]
    half = (row["ci_high"] - row["ci_low"]) / 2
    assert row["ci_method"] == "t over 3 folds"
    assert row["value"] == pytest.approx((row["ci_high"] + row["ci_low"]) / 2)
    assert half > 0 and stats.t.cdf(4.302652729911275, 2) == pytest.approx(0.975)


def test_left_out_cells_are_counted(table):
    assert set(table["n"]) == {48}
    assert set(table["split"]) == {
        "3 stratified folds; left out: 12 cells without a cell type, 5 cells of 1 classes under 8 cells"
    }


def test_the_same_seed_gives_the_same_scores(table):
    pd.testing.assert_frame_equal(table, score(embedding(LABELS), SECTION, run="r", seed=1))


@pytest.mark.parametrize(
    ("labels", "section", "empty", "reason"),
    [
        pytest.param(["CL:1"] * 20, SECTION, 8, "1 classes of 8 cells or more", id="one class"),
        pytest.param(["unknown"] * 20, SECTION, 8, "0 classes", id="no class"),
        pytest.param(["CL:1", "CL:2"] * 10, SECTION, 4, "no macro F1", id="two classes"),
        pytest.param(
            ["CL:1", "CL:2", "CL:3"] * 4,
            Classification(datasets=["d"], folds=5, min_class_size=2),
            8,
            "fewer cells than there are folds",
            id="more folds than cells",
        ),
    ],
)
def test_what_cannot_be_computed_is_empty_with_its_reason(labels, section, empty, reason):
    table = score(embedding(labels), section, run="r", seed=0)
    assert len(table) == 8 and table["value"].isna().sum() == empty
    assert table.loc[table["value"].isna(), "reason"].str.contains(reason).all()

"""Which model to use for what: sentences from scores like those of the made-up run."""

import pandas as pd
import pytest

from report.made_run import RUN, row
from wced import tables
from wced.benchmarks.comparison.statistics import differences
from wced.benchmarks.job import task_module
from wced.config import check
from wced.embedding.baselines import LEAKAGE
from wced.report.uses import USES, compared, recommendations

DATASETS, NAN = ["eye", "lung"], float("nan")
CLUSTER, CARRY, NAME, TRAIN = USES
RUN = check(
    RUN
    | {
        "embedding": {
            "datasets": DATASETS,
            "untrained": "one",
            "baselines": ["pca", "corpus_pca"],
            "external": {"scgpt": {"embeddings": "{dataset}.h5ad", "n_params": 9}},
        },
        "benchmarks": {
            "zero_shot_integration": {"datasets": DATASETS},
            "transfer": {"datasets": ["lung"], "train_on": "corpus"},
            "finetuned_annotation": {"datasets": ["lung"], "modes": [{"mode": "lora"}]},
        },
    }
)


def scores(task, *metrics, datasets=("lung",), half=0.01, **values) -> dict[str, pd.DataFrame]:
    """Return scores of each model: one value, or one for each dataset; an interval is `half` to each side."""
    rows = [
        row(tables.SCORES, run="r", task=task, dataset=dataset, model=model, metric=metric, ci_low=value - half,
            ci_high=value + half, leakage=LEAKAGE if model == "pca" else "none (0 of 9)")
        | {"value": value, "source": "here", "reason": ""}
        for metric in metrics
        for model, value_d in values.items()
        for dataset, value in zip(datasets, value_d if isinstance(value_d, tuple) else [value_d] * 9, strict=False)
    ]  # fmt: skip
    return {task: pd.DataFrame(rows)}


def sentences(scores, use) -> list[str]:
    uses = recommendations(scores, RUN)
    assert [title.partition(" (")[0] for title in uses] == [use]
    return next(iter(uses.values()))


def integration(**values) -> list[str]:
    return sentences(scores("zero_shot_integration", "avg_bio", **values), CLUSTER)


ONE_DATASET = {
    "better": (
        {"one": 0.5, "two": 0.6, "corpus_pca": 0.4},
        "Use two: better than corpus_pca (no pretraining), by AvgBio (0.60, 0.59 to 0.61, against 0.40).",
    ),
    "worse": (
        {"two": 0.5, "pca": 0.6, "corpus_pca": 0.55},
        "Use pca (no pretraining; fitted on the scored cells, unlabelled): better than two, the best model trained "
        "here, by AvgBio (0.60, 0.59 to 0.61, against 0.50).",
    ),
    "external": (
        {"two": 0.5, "scgpt": 0.6, "corpus_pca": 0.4},
        "Use scgpt (made elsewhere): better than two, the best model trained here, "
        "by AvgBio (0.60, 0.59 to 0.61, against 0.50).",
    ),
    "intervals overlap": (
        {"two": 0.5, "corpus_pca": 0.515},
        "Use two or corpus_pca (no pretraining): neither is clearly better, "
        "by AvgBio (0.50, 0.49 to 0.51, against 0.52).",
    ),
    "no intervals": (
        {"two": 0.5, "corpus_pca": 0.6, "half": NAN},
        "Use two or corpus_pca (no pretraining): neither is clearly better, by AvgBio (0.50, against 0.60).",
    ),
    "no baseline": (
        {"two": 0.5}, "Use two: no model without pretraining was scored beside it, by AvgBio (0.50, 0.49 to 0.51).",
    ),
    "no model": (
        {"corpus_pca": 0.5},
        "Use corpus_pca: no model trained here was scored beside it, by AvgBio (0.50, 0.49 to 0.51).",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("values", "expected"), ONE_DATASET.values(), ids=ONE_DATASET)
def test_one_dataset_is_judged_by_the_intervals_of_its_scores(values, expected):
    assert integration(**values) == [expected]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({"one_step_0": 0.5, "untrained": 0.1}, "than its own weights before training (one_step_0), by AvgBio (0.50"),
        ({"one_step_0": 0.7, "untrained": 0.1}, "than its own weights before training (one_step_0), by AvgBio (0.50"),
        ({"untrained": 0.5}, "than untrained weights (untrained), by AvgBio (0.50, 0.49 to 0.51, against 0.50)"),
    ],
    ids=["level", "below", "untrained"],
)
def test_training_that_did_not_help_comes_first(start, expected):
    first, *_ = integration(one=0.5, two=0.6, pca=0.9, **start)
    assert first.startswith("Training did not make one clearly better ") and expected in first


def test_training_that_helped_is_no_news_and_other_checkpoints_are_named_too():
    texts = integration(one=0.9, two=0.5, one_step_0=0.5, two_step_0=0.5, pca=0.7)
    assert [text.startswith("Training did not make two clearly better") for text in texts] == [True, False]
    assert texts[1].startswith("Use one: better than pca")


@pytest.mark.parametrize(
    ("one", "expected"),
    [((0.8, 0.6), "better"), ((0.2, 0.1), "worse"), ((0.9, 0.2), "tie"), ((0.5, 0.4), "tie")],
    ids=["better", "worse", "one each", "equal"],
)
@pytest.mark.parametrize("order", [1, -1])
def test_over_datasets_the_interval_of_the_difference_decides(one, expected, order):
    values = dict([("one", one), ("pca", (0.5, 0.4))][::order])
    (field,) = scores("zero_shot_integration", "avg_bio", datasets=DATASETS, half=0.5, **values).values()
    pair = differences(field).iloc[0]
    clear = pair["ci_low"] > 0 or pair["ci_high"] < 0
    assert compared(field, "one", "pca") == expected and clear == (expected != "tie")


def test_a_mean_names_its_datasets_and_those_that_leaked():
    by_task = scores(
        "zero_shot_integration", "avg_bio", datasets=DATASETS, one=(0.8, 0.6), two=(0.9, 0.1), pca=(0.5, 0.4)
    )
    ((title, texts),) = recommendations(by_task, RUN, {"eye": "LEAKED", "lung": "development"}).items()
    assert title == f"{CLUSTER} (mean over eye [LEAKED] and lung [development])"
    assert texts[0].startswith("Use one") and "by AvgBio (0.70, 0.61 to 0.79, against 0.45)" in texts[0]


def test_a_model_that_lacks_a_dataset_is_not_recommended_and_a_dataset_that_all_lack_does_not_count():
    by_task = scores(
        "zero_shot_integration", "avg_bio", datasets=DATASETS, one=(0.8, 0.6), two=(0.9, 0.9), pca=(0.5, 0.4)
    )
    table, gap = by_task["zero_shot_integration"], [NAN, NAN, NAN, "no cells"]
    of_eye, columns = table["dataset"] == "eye", ["value", "ci_low", "ci_high", "reason"]
    table.loc[of_eye & (table["model"] == "two"), columns] = gap
    assert sentences(by_task, CLUSTER)[0].startswith("Use one: better than pca")
    table.loc[of_eye, columns] = gap
    ((title, (text,)),) = recommendations(by_task, RUN).items()
    assert title == f"{CLUSTER} (on lung)" and text.startswith("Use two") and "(0.90, 0.89 to 0.91, against" in text
    table[columns] = gap
    assert recommendations(by_task, RUN) == {}


def test_measures_that_agree_share_a_sentence_and_others_come_first_in_theirs():
    good, bad = {"one": 0.8, "corpus_pca": 0.5}, {"one": 0.3, "corpus_pca": 0.5}
    parts = [scores("transfer", f"{name}_knn", **good) for name in ("accuracy", "macro_f1")]
    agree = {"transfer": pd.concat([part["transfer"] for part in parts])}
    (text,) = sentences(agree, CARRY)
    assert text.endswith(
        "by accuracy of neighbours (0.80, 0.79 to 0.81, against 0.50) and macro F1 of neighbours (0.80, 0.79 to 0.81, "
        "against 0.50)."
    )
    assert list(recommendations(agree, RUN)) == [f"{CARRY} (from corpus to lung)"]
    differ = {"transfer": pd.concat([agree["transfer"], scores("transfer", "accuracy_lr", **bad)["transfer"]])}
    first, second = sentences(differ, CARRY)
    assert first.startswith("By accuracy of neighbours and macro F1 of neighbours, use one: better than corpus")
    assert second.startswith("By accuracy of logistic regression, use corpus_pca (no pretraining): better than one, ")
    assert second.endswith(" (0.50, 0.49 to 0.51, against 0.30).")


def test_only_uses_whose_benchmark_ran_are_named():
    by_task = scores("finetuned_annotation", "macro_f1_lora", one=0.8) | scores(
        "czi_of_another_run", "macro_f1", one=0.5
    )
    (text,) = sentences(by_task, TRAIN)
    assert "macro F1 after fine-tuning (LoRA) (0.80" in text
    assert recommendations({}, RUN) == {}


def test_measures_are_metrics_of_their_benchmark_at_which_higher_is_better():
    for task, measures in [pair for tasks in USES.values() for pair in tasks.items()]:
        metrics = {metric.name: metric for metric in task_module(task).METRICS}
        assert all(metrics[name].ranks and metrics[name].higher_is_better for name in measures), task

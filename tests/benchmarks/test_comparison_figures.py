import numpy as np
import pandas as pd
import pytest

from clouds import score_rows
from wced.benchmarks.comparison.figures import joint_z, on_front, write_figures
from wced.benchmarks.comparison.statistics import ranking
from wced.errors import WcedError

SIZES = {"pca": 0, "hvg": 0, "small": 10**6, "large": 5 * 10**7}


def ranked(models=tuple(SIZES), metrics=("avg_bio", "macro_f1"), lacks=None, run="r") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "dataset": dataset, "protocol": f"of {metric}", "model": model, "metric": metric, "n_params": SIZES[model],
            "value": np.nan if (model, dataset) == lacks else rng.random(),
        }
        for dataset in ("lung", "blood")
        for metric in metrics
        for model in models
    ]  # fmt: skip
    return ranking(score_rows(rows, task="czi", run=run))


def test_figures_come_with_captions_and_numbers_and_are_the_same_twice(tmp_path):
    table = ranked()
    for folder in ("one", "two"):
        write_figures(table, tmp_path / folder)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {f"{name}.{kind}" for name in ("ranking", "pareto") for kind in ("svg", "pdf", "tsv", "md")}
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    svg = (tmp_path / "one" / "ranking.svg").read_text()
    assert all(model in svg for model in SIZES)
    numbers = pd.read_csv(tmp_path / "one" / "ranking.tsv", sep="\t")
    means = numbers[(numbers["dataset"] == "all") & (numbers["model"] == "pca")]
    assert means["z"].mean() == pytest.approx(means["joint_z"].iloc[0], abs=1e-5)


def test_the_joint_z_score_orders_the_models():
    table = ranked()
    means = table[table["dataset"] == "all"]
    joint = joint_z(means)
    for model in SIZES:
        assert joint[model] == pytest.approx(means.loc[means["model"] == model, "z"].mean())
    assert joint.is_monotonic_decreasing and len(joint) == 4


def test_the_front_by_hand():
    points = pd.DataFrame({"n_params": [0, 0, 5, 5, 9, 9, 20], "value": [0.2, 0.3, 0.3, 0.1, 0.5, 0.5, 0.4]})
    # Equal scores of equal size share the front; a larger model that is as good as a smaller one is not beaten either.
    assert on_front(points).tolist() == [False, True, True, False, True, True, False]


def test_a_model_that_lacks_a_dataset_is_named_and_not_shown(tmp_path):
    write_figures(ranked(lacks=("hvg", "blood")), tmp_path)
    assert "Not shown, as they lack a score on some dataset: hvg." in (tmp_path / "ranking.md").read_text()
    assert "hvg" not in set(pd.read_csv(tmp_path / "pareto.tsv", sep="\t")["model"])


@pytest.mark.parametrize("models", [("pca",), ("pca", "hvg"), ("small", "large")])
def test_few_models_have_a_figure_too(tmp_path, models):
    write_figures(ranked(models), tmp_path)
    assert (tmp_path / "pareto.svg").exists()
    assert (tmp_path / "ranking.svg").exists() == (len(models) > 1)


def test_without_both_metrics_of_the_czi_benchmark_there_is_none(tmp_path):
    write_figures(ranked(metrics=("avg_bio",)), tmp_path)
    write_figures(ranked().assign(task="probe"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_several_runs_are_refused(tmp_path):
    with pytest.raises(WcedError, match="of one run, but the scores are of r, s"):
        write_figures(pd.concat([ranked(), ranked(run="s")]), tmp_path)

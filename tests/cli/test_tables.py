"""Commands that join and compare the tables of several jobs."""

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from wced import tables
from wced.cli import commands
from wced.provenance import provenance_path


def run(*words):
    assert CliRunner().invoke(commands.app, [str(word) for word in words], catch_exceptions=False).exit_code == 0


def test_tables_are_joined_in_the_order_of_the_files(tmp_path):
    blank = {"str": "x", "int": 1, "float": 0.5}
    columns = {column.name: blank[column.kind] for column in tables.LEARNABILITY.columns}
    for name, ranks in (("a", (3, 1)), ("b", (2,))):
        rows = pd.DataFrame([columns | {"rank": rank} for rank in ranks])
        tables.write(rows, tables.LEARNABILITY, tmp_path / f"{name}.tsv")
    output = tmp_path / "all.tsv"
    run("gather", tmp_path / "b.tsv", tmp_path / "a.tsv", "--schema", "learnability", "--output", output)
    assert tables.read(tables.LEARNABILITY, output)["rank"].tolist() == [2, 3, 1]
    assert provenance_path(output).exists()


def scores(task: str, metrics: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "run": "r", "task": task, "dataset": dataset, "protocol": "p", "split": "all", "label": "l", "model": model,
            "metric": metric, "value": rng.random(), "ci_low": np.nan, "ci_high": np.nan, "ci_method": "", "n": 9,
            "n_params": 0, "width": 4, "seed": 0, "source": "here", "leakage": "none", "reason": "",
        }
        for dataset in ("lung", "blood")
        for metric in metrics
        for model in ("pca", "hvg")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_all_tables_are_compared_at_once_and_twice_in_the_same_way(tmp_path):
    tables.write(scores("czi", ["avg_bio", "macro_f1", "ari"]), tables.SCORES, tmp_path / "czi.tsv")
    tables.write(scores("probe", ["accuracy_lr"]), tables.SCORES, tmp_path / "probe.tsv")
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        options = ["--differences", out / "differences.tsv", "--ranking", out / "ranking.tsv"]
        run("compare", tmp_path / "czi.tsv", tmp_path / "probe.tsv", *options, "--figures", out / "figures")
    differences = tables.read(tables.COMPARISONS, one / "differences.tsv")
    ranking = tables.read(tables.RANKING, one / "ranking.tsv")
    assert set(differences["metric"]) == set(ranking["metric"]) == {"avg_bio", "macro_f1", "ari", "accuracy_lr"}
    assert (one / "figures" / "ranking.svg").exists() and provenance_path(one / "ranking.tsv").exists()
    for name in ("differences.tsv", "ranking.tsv", "figures/pareto.svg", "figures/ranking.pdf"):
        assert (one / name).read_bytes() == (two / name).read_bytes()

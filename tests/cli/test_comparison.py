import numpy as np
import pandas as pd
from typer.testing import CliRunner

from wced import tables
from wced.cli import commands
from wced.provenance import provenance_path


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


def test_all_tables_are_compared_at_once_and_the_same_way_twice(tmp_path):
    tables.write(scores("czi", ["avg_bio", "macro_f1", "ari"]), tables.SCORES, tmp_path / "czi.tsv")
    tables.write(scores("probe", ["accuracy_lr"]), tables.SCORES, tmp_path / "probe.tsv")
    for out in ("one", "two"):
        command = ["compare", str(tmp_path / "czi.tsv"), str(tmp_path / "probe.tsv")]
        for option in ("differences.tsv", "ranking.tsv", "figures"):
            command += [f"--{option.removesuffix('.tsv')}", str(tmp_path / out / option)]
        assert CliRunner().invoke(commands.app, command, catch_exceptions=False).exit_code == 0
    one, two = tmp_path / "one", tmp_path / "two"
    differences = tables.read(tables.COMPARISONS, one / "differences.tsv")
    ranking = tables.read(tables.RANKING, one / "ranking.tsv")
    assert set(differences["metric"]) == set(ranking["metric"]) == {"avg_bio", "macro_f1", "ari", "accuracy_lr"}
    assert (one / "figures" / "ranking.svg").exists() and provenance_path(one / "ranking.tsv").exists()
    for name in ("differences.tsv", "ranking.tsv", "figures/pareto.svg", "figures/ranking.pdf"):
        assert (one / name).read_bytes() == (two / name).read_bytes()

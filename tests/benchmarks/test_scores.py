import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from wced import tables
from wced.benchmarks.scores import Score, gather, missing, rows
from wced.errors import WcedError


def table(model, **scores) -> pd.DataFrame:
    facts = {"model": model, "dataset": "d", "n_params": 5, "width": 1, "leakage": "none"}
    embedding = AnnData(X=np.zeros((1, 1), np.float32), uns={"wced": facts})
    return rows(embedding, scores, run="r", task="t", protocol="p", split="all", n=1, seed=0)


def test_a_value_that_is_not_finite_becomes_an_empty_one():
    found = table("m", good=Score(0.5), bad=Score(np.inf), none=missing("because")).set_index("metric")
    assert found["reason"].to_dict() == {"good": "", "bad": "the metric is not finite", "none": "because"}
    assert found["value"].isna().tolist() == [False, True, True]


def test_gather_keeps_the_order_of_the_files(tmp_path):
    for model in ("zeta", "alpha"):
        tables.write(table(model, x=Score(0.25), y=missing("no")), tables.SCORES, tmp_path / f"{model}.tsv")
    joined = gather([tmp_path / "zeta.tsv", tmp_path / "alpha.tsv"])
    assert joined["model"].tolist() == ["zeta", "zeta", "alpha", "alpha"]
    assert joined["reason"].tolist() == ["", "no", "", "no"]


def test_gather_refuses_the_same_scores_twice(tmp_path):
    tables.write(table("m", x=Score(0.25)), tables.SCORES, tmp_path / "m.tsv")
    with pytest.raises(WcedError, match="two rows"):
        gather([tmp_path / "m.tsv", tmp_path / "m.tsv"])

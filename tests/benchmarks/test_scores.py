import numpy as np
import pandas as pd
from anndata import AnnData

from wced.benchmarks.scores import rows
from wced.stats import Score, missing


def table(model, source="here", **scores) -> pd.DataFrame:
    facts = {"model": model, "dataset": "d", "n_params": 5, "width": 1, "leakage": "none", "source": source}
    embedding = AnnData(X=np.zeros((1, 1), np.float32), uns={"wced": facts})
    return rows(embedding, scores, run="r", task="t", protocol="p", split="all", n=1, seed=0)


def test_a_value_that_is_not_finite_becomes_an_empty_one():
    found = table("m", good=Score(0.5), bad=Score(np.inf), none=missing("because")).set_index("metric")
    assert found["reason"].to_dict() == {"good": "", "bad": "the metric is not finite", "none": "because"}
    assert found["value"].isna().tolist() == [False, True, True]


def test_an_embedding_from_elsewhere_says_so():
    assert table("m", source="external", good=Score(0.5))["source"].tolist() == ["external"]


def test_a_score_may_be_of_fewer_cells_and_of_another_label():
    facts = {"model": "m", "dataset": "d", "n_params": 5, "width": 1, "leakage": "none", "source": "here"}
    embedding = AnnData(X=np.zeros((1, 1), np.float32), uns={"wced": facts})
    scores = {"all": Score(0.5), "some": Score(0.5, n=3)}
    found = rows(embedding, scores, run="r", task="t", protocol="p", split="all", n=9, seed=0, label="drug")
    assert found["n"].tolist() == [9, 3] and set(found["label"]) == {"drug"}

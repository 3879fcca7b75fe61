import json

import numpy as np
import pandas as pd
import pytest

from wced.config.corpus import LABEL_COLUMNS, SHARD_COLUMNS, Shards
from wced.config.run import section
from wced.errors import WcedError
from wced.shards.facts import fact_types, facts_of
from wced.shards.perturbations import Perturbations
from wced.shards.vocabulary import Labels

LABELS = Labels({"assay": ("a", "b")}, {}, ("age",), Perturbations("guide", {"A": (4,)}, {}))
CELLS = pd.DataFrame(
    {
        "soma_joinid": [3, 9, 11], "split": ["train", "validation", "train"], "dataset_id": ["y", "x", "y"],
        "assay": ["b", "c", "unknown"], "age": [0.5, np.nan, 3], "guide": ["A", "control", "B"],
    }
)  # fmt: skip


def test_facts_have_the_columns_and_types_of_a_shard():
    facts = facts_of(CELLS, LABELS, ["x", "y"])
    assert {name: values.dtype.type for name, values in facts.items()} == fact_types(LABELS)
    assert facts["split"].tolist() == [0, 1, 0] and facts["dataset"].tolist() == [1, 0, 1]
    assert facts["assay"].tolist() == [1, -1, -1] and facts["perturbed"].tolist() == [0, -1, -1]
    np.testing.assert_array_equal(facts["age"], [0.5, np.nan, 3])


@pytest.mark.parametrize("name", ["assay", "age", "guide"])
def test_cells_that_lack_a_column_are_refused(name):
    with pytest.raises(WcedError, match=rf"^cells\.parquet has no column {name}, which labels\.json names$"):
        facts_of(CELLS.drop(columns=name), LABELS, ["x", "y"])


def test_the_config_names_each_column_of_obs_once():
    assert Shards().obs_columns == list(LABEL_COLUMNS)
    chosen = Shards(label_columns=["assay", "guide"], number_columns=["age"], perturbed_column="guide")
    assert chosen.obs_columns == ["assay", "guide", "age"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label_columns": ["sex", "sex"]}, "label_columns and number_columns have sex twice"),
        ({"number_columns": ["donor_id"]}, "label_columns and number_columns have donor_id twice"),
        *(({"number_columns": [name]}, f"can not have {name}: shards have such a column") for name in SHARD_COLUMNS),
    ],
    ids=["twice", "in_both", *SHARD_COLUMNS],
)
def test_names_that_shards_can_not_have_twice_are_refused(columns, message):
    with pytest.raises(WcedError, match=message):
        section(Shards, json.dumps(columns))

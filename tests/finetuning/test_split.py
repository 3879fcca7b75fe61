import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wced.config.finetuning import Finetuning
from wced.errors import WcedError
from wced.finetuning.source import SPLITS
from wced.finetuning.split import labelled_cells


def labelled(obs, held_out=None, empty=None, seed=0, min_class_size=1):
    obs = pd.DataFrame(obs)
    empty_n = np.zeros(len(obs), bool) if empty is None else np.asarray(empty)
    section = Finetuning(held_out=held_out or {"by": "cell"}, min_class_size=min_class_size)
    return labelled_cells(obs, "kind", empty_n, section, seed)


@given(
    st.lists(st.sampled_from("aaaabbc"), min_size=8, max_size=80), st.floats(0.05, 0.45), st.floats(0, 0.45),
    st.integers(0, 5),
)  # fmt: skip
def test_single_cells_are_held_out_in_proportion_and_train_keeps_every_class(kinds, validation, test, seed):
    held_out = {"by": "cell", "validation": validation, "test": test}
    try:
        cells = labelled({"kind": kinds}, held_out, seed=seed)
    except WcedError as refusal:
        assert len(set(kinds)) < 2 or round(validation * len(kinds)) <= 1, refusal
        return
    assert cells.classes == tuple(sorted(set(kinds)))
    assert set(cells.code_n[cells.split_n == 0]) == set(range(len(cells.classes)))
    assert [cells.classes[code] for code in cells.code_n] == kinds and not cells.unseen
    for code, share in ((1, validation), (2, test)):
        room = len(kinds) - len(cells.classes)  # one cell of each class stays
        assert (cells.split_n == code).sum() <= share * len(kinds) + 1
        if (validation + test) * len(kinds) < room:
            assert (cells.split_n == code).sum() >= share * len(kinds) - 1


@pytest.mark.parametrize("seed", range(3))
def test_whole_groups_are_held_out_and_train_keeps_every_class(seed):
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, 12, 600)
    kind = np.where(donor == 3, "only_in_3", rng.choice(["a", "b", "c"], 600))
    obs = {"kind": kind, "donor": np.where(donor == 7, "unknown", donor.astype(str))}
    cells = labelled(obs, {"by": "group", "column": "donor", "validation": 0.15, "test": 0.2}, seed=seed)
    for value in set(obs["donor"]):
        assert len(set(cells.split_n[obs["donor"] == value])) == 1
    assert set(cells.split_n[donor == 7]) == set(cells.split_n[donor == 3]) == {0}
    assert set(cells.code_n[cells.split_n == 0]) == {0, 1, 2, 3}
    np.testing.assert_allclose(np.bincount(cells.split_n) / 600, [0.65, 0.15, 0.2], atol=0.05)


def test_the_split_of_a_column_is_taken_as_it_is():
    obs = {"kind": [*"aabbccab", "d"], "split": ["train"] * 4 + ["test"] * 2 + ["validation"] * 2 + ["test"]}
    cells = labelled(obs, {"by": "column", "column": "split"})
    assert [SPLITS[code] for code in cells.split_n] == obs["split"]
    assert cells.classes == ("a", "b") and cells.code_n.tolist() == [0, 0, 1, 1, -1, -1, 0, 1, -1]
    assert cells.unseen == {"c": 2, "d": 1}
    assert "3 validation and test cells of 2 classes that train lacks" in cells.notes[-1]


def test_where_a_column_has_no_validation_train_gives_some():
    obs = {"kind": [*"ab"] * 50, "split": ["train"] * 80 + ["test"] * 20}
    cells = labelled(obs, {"by": "column", "column": "split", "validation": 0.25})
    assert np.bincount(cells.split_n).tolist() == [60, 20, 20] and (cells.split_n[80:] == 2).all()
    assert np.bincount(cells.code_n[cells.split_n == 1]).tolist() == [10, 10]
    assert "split has no validation cells: 25% of train are taken for it" in cells.notes


def test_what_is_left_out_is_counted():
    kinds = [*"a" * 20, *"b" * 20, "c", "c", None, float("nan"), "unknown", ""]
    cells = labelled({"kind": kinds}, empty=np.arange(46) == 0, min_class_size=5)
    assert cells.classes == ("a", "b")
    left_out = np.arange(46) >= 40
    left_out[0] = True
    assert ((cells.split_n < 0) == left_out).all() and (cells.code_n[left_out] == -1).all()
    counts = np.bincount(cells.split_n[~left_out], minlength=3)
    assert cells.notes == (
        f"kind: {counts[0]} train, {counts[1]} validation, 0 test cells of 2 classes",
        "4 cells without a label are left out",
        "1 cells without any gene of the model are left out",
        "2 cells of 1 classes with fewer than 5 are left out: c",
    )


def test_categories_numbers_and_seeds():
    obs = {"kind": pd.Categorical([1, 2] * 50, categories=[1, 2, 3])}
    one, same, other = (labelled(obs, seed=seed) for seed in (0, 0, 1))
    assert one.classes == ("1", "2")
    assert (one.split_n == same.split_n).all() and (one.split_n != other.split_n).any()

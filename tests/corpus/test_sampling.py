import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced import tables
from wced.config import corpus as config
from wced.corpus.sampling import needed_columns, sample, strata_of, water_level
from wced.errors import WcedError


def steps(*sections):
    return config.Cells.model_validate({"sampling": list(sections)}).sampling


def cells(n=2000, seed=0):
    """Make cells of four unequal datasets with donors whose names they share, and five unequal types."""
    rng = np.random.default_rng(seed)
    columns = {
        "dataset_id": np.sort(rng.choice(["a", "b", "c", "d"], n, p=[0.6, 0.25, 0.1, 0.05])),
        "donor_id": rng.choice(["1", "2", "3"], n),
        "cell_type": rng.choice(["B", "NK", "T", "mono", "rare"], n, p=[0.5, 0.3, 0.15, 0.04, 0.01]),
    }
    frame = pd.DataFrame(columns).astype("category")
    return frame.assign(soma_joinid=np.cumsum(rng.integers(1, 4, n)))


def taken(obs, *sections, seed=0, rows=None):
    rows, manifest = sample(obs, np.arange(len(obs)) if rows is None else rows, steps(*sections), seed)
    return rows, tables.checked(manifest, tables.SAMPLING)


FRACTION = {"kind": "fraction", "fraction": 0.25}
CAP = {"kind": "cap", "cells": 40, "by": ["dataset_id", "cell_type"]}
TOTAL = {"kind": "total", "cells": 333, "by": ["cell_type"]}
STRATIFIED = {"kind": "stratified", "by": "cell_type", "fractions": {"B": 0.1, "T": 0.5}, "otherwise": 0.9}


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.0131, 1e-9], ids=str)
def test_a_fraction_is_met(fraction):
    rows, manifest = taken(cells(), {"kind": "fraction", "fraction": fraction})
    assert len(rows) == max(1, round(2000 * fraction))
    assert manifest[["stratum", "cells_there", "cells_taken"]].to_numpy().tolist() == [["all", 2000, len(rows)]]


def test_runs_are_taken_whole():
    obs = cells()
    rows, _ = taken(obs, {"kind": "fraction", "fraction": 0.2, "run": 50})
    run = (obs["soma_joinid"] // 50).to_numpy()
    assert np.isin(run, run[rows]).sum() == len(rows)
    assert 400 <= len(rows) < 450
    # Far fewer ranges to read than for single cells.
    single, _ = taken(obs, {"kind": "fraction", "fraction": 0.2})
    assert len(set(run[rows])) * 3 < len(set(run[single]))


def test_a_cap_is_per_combination():
    obs = cells()
    rows, manifest = taken(obs, CAP)
    there, left = (frame.value_counts(["dataset_id", "cell_type"]) for frame in (obs, obs.iloc[rows]))
    there = there[there > 0]
    assert (left.reindex(there.index) == there.clip(upper=40)).all()
    assert manifest["by"].unique().tolist() == ["dataset_id, cell_type"] and len(manifest) == len(there)
    row = manifest.set_index("stratum").loc["b | T"]
    assert row[["cells_there", "cells_taken"]].tolist() == [there["b", "T"], min(there["b", "T"], 40)]


def test_a_donor_is_one_of_its_dataset():
    rows, manifest = taken(cells(), {"kind": "cap", "cells": 10, "by": ["donor_id"]})
    assert len(manifest) == 12 and manifest["by"].iloc[0] == "dataset_id, donor_id" and len(rows) == 120
    assert needed_columns(steps({"kind": "stratified", "by": "donor_id", "fractions": {}})) == [
        "soma_joinid", "dataset_id", "donor_id"
    ]  # fmt: skip


@pytest.mark.parametrize("wanted", [1, 3, 100, 333, 1999, 2000, 5000], ids=str)
def test_a_total_is_exact_and_level(wanted):
    obs = cells()
    rows, manifest = taken(obs, TOTAL | {"cells": wanted})
    assert len(rows) == min(wanted, len(obs)) == manifest["cells_taken"].sum()
    capped = manifest.loc[manifest["cells_taken"] < manifest["cells_there"], "cells_taken"]
    assert capped.empty or capped.max() - capped.min() <= 1
    assert capped.empty or manifest["cells_taken"].max() == capped.max()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 900))
@settings(max_examples=200, deadline=None)
def test_water_level(sizes, wanted):
    sizes = np.array(sizes)
    cap, rest = water_level(sizes, wanted)
    assert np.minimum(sizes, cap).sum() + rest == min(wanted, sizes.sum())
    assert 0 <= rest < max((sizes > cap).sum(), 1)


def test_fractions_of_a_field():
    rows, manifest = taken(cells(), STRATIFIED)
    before, after = (manifest.set_index("stratum")[name] for name in ("cells_there", "cells_taken"))
    for value, share in {"B": 0.1, "T": 0.5, "NK": 0.9, "mono": 0.9, "rare": 0.9}.items():
        assert after[value] == round(share * before[value])
    assert len(rows) == after.sum()


@pytest.mark.parametrize(("fraction", "left"), [(0.0, 0), (1e-6, 1)], ids=["none", "at least one"])
def test_small_fractions_of_a_field(fraction, left):
    _, manifest = taken(cells(), STRATIFIED | {"fractions": {"rare": fraction}})
    assert manifest.set_index("stratum").loc["rare", "cells_taken"] == left


def test_fractions_of_donors_name_their_dataset():
    step = {"kind": "stratified", "by": "donor_id", "fractions": {"b | 2": 0.5}, "otherwise": 0}
    obs = cells()
    rows, _ = taken(obs, step)
    there = ((obs["dataset_id"] == "b") & (obs["donor_id"] == "2")).sum()
    chosen = obs.iloc[rows]
    assert len(rows) == round(there / 2) and set(chosen["dataset_id"]) == {"b"} and set(chosen["donor_id"]) == {"2"}


def test_a_step_after_one_that_left_nothing():
    rows, manifest = taken(cells(), STRATIFIED | {"fractions": {}, "otherwise": 0}, CAP, TOTAL, FRACTION)
    assert len(rows) == 0 and manifest["cells_taken"].sum() == 0


def test_a_value_that_no_cell_has_is_refused():
    with pytest.raises(WcedError, match=r"step 2 gives a fraction for cell_type 'mon', .*; nearest are 'mono'"):
        taken(cells(), FRACTION, STRATIFIED | {"fractions": {"mon": 0.1}})


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (FRACTION, FRACTION | {"fraction": 0.26}),
        (FRACTION | {"run": 16}, FRACTION | {"fraction": 0.4, "run": 16}),
        (CAP, CAP | {"cells": 41}),
        (TOTAL, TOTAL | {"cells": 334}),
        (TOTAL, TOTAL | {"cells": 700}),
        (STRATIFIED, STRATIFIED | {"otherwise": 0.95}),
    ],
    ids=["fraction", "runs", "cap", "total by one", "total", "stratified"],
)
def test_less_is_a_subset_of_more(less, more):
    obs = cells()
    small, large = (set(taken(obs, step)[0]) for step in (less, more))
    assert small < large


@pytest.mark.parametrize("step", [FRACTION, CAP, TOTAL, STRATIFIED], ids=lambda step: step["kind"])
def test_seed_and_order(step):
    obs = cells()
    rows, _ = taken(obs, step)
    joinids = set(obs["soma_joinid"].iloc[rows])
    shuffled = obs.sample(frac=1, random_state=1)
    again, _ = taken(shuffled, step)
    assert set(shuffled["soma_joinid"].iloc[again]) == joinids, "the order of reading matters"
    other, _ = taken(obs, step, seed=1)
    assert set(obs["soma_joinid"].iloc[other]) != joinids


def test_cells_that_are_gone_are_replaced_by_others():
    obs = cells()
    all_taken, _ = taken(obs, CAP)
    fewer = np.arange(200, len(obs))
    left, _ = taken(obs, CAP, rows=fewer)
    assert set(all_taken) & set(fewer) <= set(left)


def test_steps_work_on_what_the_one_before_left():
    obs = cells()
    rows, manifest = taken(obs, CAP, FRACTION, TOTAL | {"cells": 50})
    sums = manifest.groupby("step")[["cells_there", "cells_taken"]].sum()
    assert sums["cells_there"].tolist() == [2000, *sums["cells_taken"][:-1]]
    assert sums["cells_taken"].iloc[-1] == len(rows) == 50
    first, _ = taken(obs, CAP)
    second, _ = taken(obs, CAP, FRACTION)
    assert set(rows) < set(second) < set(first)
    # A step draws anew: the second quarter is not the quarter that it would be as the first step.
    twice, _ = taken(obs, FRACTION, FRACTION)
    assert len(twice) == 125 and not set(twice) <= set(taken(obs, FRACTION | {"fraction": 0.0625})[0])


def test_no_step_takes_all():
    rows, manifest = taken(cells())
    assert len(rows) == 2000 and manifest.empty


@pytest.mark.parametrize("dense", [1 << 27, 1], ids=["by presence", "by sorting"])
def test_strata(monkeypatch, dense):
    monkeypatch.setattr("wced.corpus.sampling.DENSE", dense)
    obs, rows = cells(), np.arange(0, 2000, 7)
    strata, names = strata_of(obs, rows, ["dataset_id", "donor_id", "cell_type"])
    expected = obs.iloc[rows][["dataset_id", "donor_id", "cell_type"]].astype(str).reset_index(drop=True)
    assert names.iloc[strata].reset_index(drop=True).astype(str).equals(expected)
    assert names.equals(names.sort_values(list(names.columns))) and len(names) == len(expected.drop_duplicates())

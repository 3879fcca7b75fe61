import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced import tables
from wced.config.corpus import Split
from wced.corpus.draws import draws
from wced.corpus.split import UNITS, choose_cells, exceptions, split_cells

STRATEGIES = ["dataset", "donor", "cell", "donor_else_cell"]


def coded(frame):
    """Give a frame of text the types and the soma_joinids of obs."""
    return frame.astype("category").assign(soma_joinid=np.arange(len(frame)) * 2)


def split(cells, section, seed=0):
    """Return validation and split_by (text) as columns, beside the tables."""
    divided = split_cells(cells, section, seed)
    units = [UNITS[code] for code in divided.split_by]
    columns = pd.DataFrame({"validation": divided.validation, "split_by": units}, index=cells.index)
    return columns, tables.checked(divided.choices, tables.SPLIT), exceptions(cells, divided, {})


def corpus(seed, n=400, datasets=4, donors=5, classes=6):
    rng = np.random.default_rng(seed)
    dataset = rng.integers(datasets, size=n)
    # Dataset 0 has one donor, dataset 1 two, and so on; class 0 is unknown.
    donor = rng.integers(donors, size=n) % (dataset + 1)
    cell_type = (rng.integers(classes, size=n) * rng.integers(2, size=n) + dataset * rng.integers(2, size=n)) % classes
    columns = {
        "dataset_id": [f"set{i}" for i in dataset],
        "donor_id": [f"donor{i}" for i in donor],
        "cell_type_ontology_term_id": ["unknown" if i == 0 else f"CL:{i}" for i in cell_type],
    }
    return coded(pd.DataFrame(columns))


def known_types(cells):
    return set(cells["cell_type_ontology_term_id"]) - {"unknown"}


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(seed=st.integers(0, 10**6), fraction=st.floats(0.05, 0.6))
@settings(max_examples=25, deadline=None)
def test_properties(strategy, seed, fraction):
    cells = corpus(seed)
    result, choices, listed = split(cells, Split(strategy=strategy, validation_fraction=fraction), seed)
    validation = result["validation"]
    assert validation.any() and not validation.all()
    units = [cells["dataset_id"]] + ([cells["donor_id"]] if strategy != "dataset" else [])
    if strategy in ("dataset", "donor"):
        assert validation.groupby(units, observed=True).mean().isin([0, 1]).all(), "a unit was divided"
    by_donor = result["split_by"] == "donor"
    donor = [cells["dataset_id"][by_donor], cells["donor_id"][by_donor]]
    share = validation[by_donor].groupby(donor, observed=True).mean()
    assert share.isin([0, 1]).all()
    donors = cells.groupby("dataset_id", observed=True)["donor_id"].nunique()
    if strategy == "donor_else_cell":
        expected = cells["dataset_id"].astype(str).map(donors >= 3).map({True: "donor", False: "cell"})
        assert result["split_by"].tolist() == expected.tolist()
    if strategy == "donor":
        assert not validation[cells["dataset_id"].astype(str).map(donors) == 1].any()
    # Single cells: the share is met within each dataset, and train lacks no type.
    for _, rows in cells[result["split_by"] == "cell"].groupby("dataset_id", observed=True):
        share = validation[rows.index].mean()
        wanted = min(fraction, 1 - rows["cell_type_ontology_term_id"].nunique() / len(rows))
        assert abs(share - wanted) <= 1 / len(rows) + 1e-9
        assert known_types(rows[~validation[rows.index]]) == known_types(rows)
    # The tables say what happened.
    assert choices["cells"].sum() == len(cells) and choices["validation"].sum() == validation.sum()
    types = {True: known_types(cells[validation]), False: known_types(cells[~validation])}
    assert choices["new_types"].sum() == len(types[True])
    by_exception = listed.groupby("exception")["term"].agg(set)
    assert by_exception.get("not_in_validation", set()) == types[False] - types[True]
    assert by_exception.get("not_in_train", set()) == types[True] - types[False]
    if "not_in_train" in by_exception:
        assert choices["method"].str.contains("least loss").any()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_same_seed_same_split(strategy):
    cells, section = corpus(0), Split(strategy=strategy, validation_fraction=0.3)
    (first, *tables_1), (again, *tables_2) = (split(cells, section, 5) for _ in range(2))
    assert first.equals(again)
    for one, other in zip(tables_1, tables_2, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_seed_matters():
    cells, section = corpus(0), Split(strategy="cell")
    assert not split(cells, section, 5)[0].equals(split(cells, section, 6)[0])


def units(strategy, rows):
    """Make cells from (unit, type, number) triples."""
    cells = [(unit, cell_type) for unit, cell_type, n in rows for _ in range(n)]
    frame = pd.DataFrame(cells, columns=["unit", "cell_type_ontology_term_id"])
    dataset = frame["unit"] if strategy == "dataset" else "one"
    return coded(frame.assign(dataset_id=dataset, donor_id=frame["unit"]))


TYPES = [f"CL:{i}" for i in range(10)]
RICH = [*(("rich", name, 3) for name in TYPES), ("poor", "CL:1", 30), *(("rest", name, 25) for name in TYPES)]
CHOSEN = {
    "train keeps every type": ([("a", "CL:1", 10), ("a", "CL:2", 10), ("b", "CL:2", 12), ("c", "CL:2", 68)], 0.2, "b"),
    "validation gets as many types as it can": (RICH, 0.1, "rich"),
    # Each of both alone has a type; 'a' is nearer to the target and costs less.
    "a type is lost": ([("a", "CL:1", 3), ("a", "CL:2", 27), ("b", "CL:3", 40), ("b", "CL:2", 30)], 0.1, "a"),
}


@pytest.mark.parametrize("strategy", ["dataset", "donor"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("rows", "fraction", "chosen"), CHOSEN.values(), ids=CHOSEN)
def test_chosen_unit(strategy, seed, rows, fraction, chosen):
    cells = units(strategy, rows)
    result, _, _ = split(cells, Split(strategy=strategy, validation_fraction=fraction), seed)
    assert set(cells["unit"][result["validation"]]) == {chosen}


def test_many_units_come_near_the_target():
    rng = np.random.default_rng(0)
    rows = [(f"u{i}", f"CL:{rng.integers(1, 6)}", int(rng.integers(5, 60))) for i in range(200)]
    cells = units("dataset", rows)
    result, _, _ = split(cells, Split(strategy="dataset", validation_fraction=0.15), 0)
    assert result["validation"].mean() == pytest.approx(0.15, abs=0.005)
    assert known_types(cells[result["validation"]]) == known_types(cells)
    assert known_types(cells[~result["validation"]]) == known_types(cells)


def test_cells_of_unknown_donor_stay_in_train():
    cells = units("donor", [("a", "CL:1", 10), ("b", "CL:1", 10), ("unknown", "CL:1", 80)])
    result, _, _ = split(cells, Split(strategy="donor", validation_fraction=0.5), 0)
    assert not result["validation"][cells["donor_id"] == "unknown"].any()
    assert result["validation"].any()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_chosen_cells_follow_the_classes(classes, fraction, seed):
    classes = np.array(classes)
    chosen = choose_cells(classes, draws(np.arange(len(classes)), seed, 1), fraction)
    assert len(set(chosen.tolist())) == len(chosen)
    rest = np.delete(classes, chosen)
    assert set(rest.tolist()) == set(classes.tolist())
    spare = len(classes) - len(set(classes.tolist()))
    share = min(fraction * len(classes) / max(spare, 1), 1)
    for code in set(classes.tolist()):
        wanted = share * ((classes == code).sum() - 1)
        assert abs((classes[chosen] == code).sum() - wanted) <= 1 + 1e-9


def test_one_dataset_cannot_be_split_by_dataset():
    cells = units("dataset", [("a", "CL:1", 10)])
    result, choices, listed = split(cells, Split(strategy="dataset"), 0)
    assert not result["validation"].any()
    assert choices["method"].tolist() == ["nothing to choose: fewer than two units"]
    assert listed[["term", "exception", "units"]].to_numpy().tolist() == [["CL:1", "not_in_validation", 1]]


def test_exceptions_are_listed_with_how_units_were_chosen():
    rows = [
        ("a", "CL:1", 5),
        ("a", "CL:2", 5),
        ("b", "CL:2", 5),
        ("c", "CL:2", 40),
        ("c", "CL:3", 5),
        ("d", "CL:3", 40),
    ]
    _, choices, listed = split(units("dataset", rows), Split(strategy="dataset", validation_fraction=0.05), 0)
    columns = ["dataset", "units", "units_in_validation", "new_types", "new_types_at_most", "method"]
    assert choices[columns].to_numpy().tolist() == [["all", 4, 1, 1, 1, "optimal"]]
    assert listed.drop(columns="name").to_numpy().tolist() == [
        ["CL:1", "not_in_validation", 5, 0, 1, 1], ["CL:3", "not_in_validation", 45, 0, 2, 2],
    ]  # fmt: skip


def test_types_that_one_dataset_brought_do_not_count_for_the_next():
    rows = [("first", f"d{i}", "CL:1", 10) for i in range(3)]
    rows += [("second", "d0", "CL:1", 10), ("second", "d1", "CL:2", 10), ("second", "d2", "CL:2", 10)]
    names = ["dataset_id", "donor_id", "cell_type_ontology_term_id"]
    cells = coded(pd.DataFrame([row[:3] for row in rows for _ in range(row[3])], columns=names))
    result, choices, _ = split(cells, Split(strategy="donor", validation_fraction=1 / 3), 0)
    assert choices["new_types"].tolist() == [1, 1]
    chosen = cells[result["validation"] & (cells["dataset_id"] == "second")]
    assert set(chosen["cell_type_ontology_term_id"]) == {"CL:2"}

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.config.corpus import Split
from wced.corpus.split import choose_cells, split_cells

STRATEGIES = ["dataset", "donor", "cell", "donor_else_cell"]


def corpus(seed, n=400, datasets=4, donors=5, classes=6):
    rng = np.random.default_rng(seed)
    dataset = rng.integers(datasets, size=n)
    # Dataset 0 has one donor, dataset 1 two, and so on; class 0 is unknown.
    donor = rng.integers(donors, size=n) % (dataset + 1)
    cell_type = (rng.integers(classes, size=n) * rng.integers(2, size=n) + dataset * rng.integers(2, size=n)) % classes
    return pd.DataFrame(
        {
            "dataset_id": [f"set{i}" for i in dataset],
            "donor_id": [f"donor{i}" for i in donor],
            "cell_type_ontology_term_id": ["unknown" if i == 0 else f"CL:{i}" for i in cell_type],
        }
    )


def known_types(cells):
    return set(cells["cell_type_ontology_term_id"]) - {"unknown"}


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(seed=st.integers(0, 10**6), fraction=st.floats(0.05, 0.6))
@settings(max_examples=25, deadline=None)
def test_properties(strategy, seed, fraction):
    cells = corpus(seed)
    split = split_cells(cells, Split(strategy=strategy, validation_fraction=fraction), seed)
    validation = split["validation"]
    assert split.index.equals(cells.index)
    assert validation.any() and not validation.all()
    units = [cells["dataset_id"]] + ([cells["donor_id"]] if strategy != "dataset" else [])
    whole = validation.groupby(units).nunique() if strategy in ("dataset", "donor") else None
    if whole is not None:
        assert (whole == 1).all(), "a unit was divided"
    by_donor = split["split_by"] == "donor"
    divided = validation[by_donor].groupby([cells["dataset_id"][by_donor], cells["donor_id"][by_donor]]).nunique()
    assert (divided == 1).all()
    donors = cells.groupby("dataset_id")["donor_id"].nunique()
    if strategy == "donor_else_cell":
        expected = cells["dataset_id"].map(donors >= 3).map({True: "donor", False: "cell"})
        assert split["split_by"].tolist() == expected.tolist()
    if strategy == "donor":
        assert not validation[cells["dataset_id"].map(donors) == 1].any()
    # Single cells: the share is met within each dataset, and train lacks no type.
    for _, rows in cells[split["split_by"] == "cell"].groupby("dataset_id"):
        share = validation[rows.index].mean()
        wanted = min(fraction, 1 - rows["cell_type_ontology_term_id"].nunique() / len(rows))
        assert abs(share - wanted) <= 1 / len(rows) + 1e-9
        assert known_types(rows[~validation[rows.index]]) == known_types(rows)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_same_seed_same_split(strategy):
    cells, section = corpus(0), Split(strategy=strategy, validation_fraction=0.3)
    first, again = (split_cells(cells, section, 5)["validation"] for _ in range(2))
    assert first.equals(again)


def test_seed_matters():
    cells, section = corpus(0), Split(strategy="cell")
    assert not split_cells(cells, section, 5)["validation"].equals(split_cells(cells, section, 6)["validation"])


def units(strategy, rows):
    """Make cells from (unit, type, number) triples."""
    frame = pd.DataFrame(
        [(unit, cell_type) for unit, cell_type, n in rows for _ in range(n)],
        columns=["unit", "cell_type_ontology_term_id"],
    )
    frame["dataset_id"] = frame["unit"] if strategy == "dataset" else "one"
    frame["donor_id"] = frame["unit"]
    return frame


@pytest.mark.parametrize("strategy", ["dataset", "donor"])
@pytest.mark.parametrize("seed", range(5))
def test_train_keeps_every_type_where_it_can(strategy, seed):
    only_here = [("a", "CL:1", 10), ("a", "CL:2", 10), ("b", "CL:2", 12), ("c", "CL:2", 68)]
    cells = units(strategy, only_here)
    split = split_cells(cells, Split(strategy=strategy, validation_fraction=0.2), seed)
    assert set(cells["unit"][split["validation"]]) == {"b"}


@pytest.mark.parametrize("strategy", ["dataset", "donor"])
def test_validation_gets_as_many_types_as_it_can(strategy):
    rows = [("rich", f"CL:{i}", 3) for i in range(10)] + [("poor", "CL:1", 30)]
    rows += [("rest", f"CL:{i}", 25) for i in range(10)]
    cells = units(strategy, rows)
    split = split_cells(cells, Split(strategy=strategy, validation_fraction=0.1), 0)
    assert set(cells["unit"][split["validation"]]) == {"rich"}


@pytest.mark.parametrize("strategy", ["dataset", "donor"])
def test_a_unit_goes_even_if_a_type_is_lost(strategy):
    # Either donor alone has a type. 'a' is nearer to the target and costs less.
    rows = [("a", "CL:1", 3), ("a", "CL:2", 27), ("b", "CL:3", 40), ("b", "CL:2", 30)]
    cells = units(strategy, rows)
    split = split_cells(cells, Split(strategy=strategy, validation_fraction=0.1), 0)
    assert set(cells["unit"][split["validation"]]) == {"a"}


def test_many_units_come_near_the_target():
    rng = np.random.default_rng(0)
    rows = [(f"u{i}", f"CL:{rng.integers(1, 6)}", int(rng.integers(5, 60))) for i in range(200)]
    cells = units("dataset", rows)
    split = split_cells(cells, Split(strategy="dataset", validation_fraction=0.15), 0)
    assert split["validation"].mean() == pytest.approx(0.15, abs=0.005)
    assert known_types(cells[split["validation"]]) == known_types(cells)
    assert known_types(cells[~split["validation"]]) == known_types(cells)


def test_cells_of_unknown_donor_stay_in_train():
    cells = units("donor", [("a", "CL:1", 10), ("b", "CL:1", 10), ("unknown", "CL:1", 80)])
    split = split_cells(cells, Split(strategy="donor", validation_fraction=0.5), 0)
    assert not split["validation"][cells["donor_id"] == "unknown"].any()
    assert split["validation"].any()


@given(
    classes=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_chosen_cells_follow_the_classes(classes, fraction, seed):
    classes = np.array(classes)
    chosen = choose_cells(classes, fraction, np.random.default_rng(seed))
    assert len(set(chosen.tolist())) == len(chosen)
    rest = np.delete(classes, chosen)
    assert set(rest.tolist()) == set(classes.tolist())
    spare = len(classes) - len(set(classes.tolist()))
    share = min(fraction * len(classes) / max(spare, 1), 1)
    for code in set(classes.tolist()):
        wanted = share * ((classes == code).sum() - 1)
        assert abs((classes[chosen] == code).sum() - wanted) <= 1 + 1e-9

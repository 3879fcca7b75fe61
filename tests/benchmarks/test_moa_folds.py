import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wced.benchmarks.mechanism_of_action.score import class_of_drug, drug_folds
from wced.errors import WcedError


@st.composite
def screens(draw):
    """Any number of folds, of classes with at least as many drugs, and of cells of each drug."""
    folds = draw(st.integers(2, 4))
    drugs_of_class = draw(st.lists(st.integers(folds, 3 * folds), min_size=1, max_size=6))
    class_of = np.repeat(np.arange(len(drugs_of_class)), drugs_of_class)
    cells = draw(st.lists(st.integers(1, 5), min_size=len(class_of), max_size=len(class_of)))
    order = draw(st.randoms(use_true_random=False))
    drug_n = np.repeat(np.arange(len(class_of)), cells)
    shuffled = list(range(len(drug_n)))
    order.shuffle(shuffled)
    drug_n = drug_n[shuffled]
    names = np.array([f"drug {'abc'[i % 3]}{i}" for i in range(len(class_of))])
    return folds, names[drug_n], np.array([f"class {c}" for c in class_of[drug_n]])


@given(screens(), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_whole_drugs_of_every_class_are_held_out(screen, repeats, seed):
    folds, drug_n, class_n = screen
    made = list(drug_folds(drug_n, class_n, folds=folds, repeats=repeats, seed=seed))
    assert [(fold.repeat, fold.fold) for fold in made] == [(r, f) for r in range(repeats) for f in range(folds)]
    drugs_of = {name: len({*drug_n[class_n == name]}) for name in {*class_n}}
    for fold in made:
        test, train = {*drug_n[fold.test_n]}, {*drug_n[~fold.test_n]}
        assert not test & train, "no drug on both sides"
        assert tuple(sorted(test)) == fold.test_drugs
        assert {*class_n[fold.test_n]} == {*class_n[~fold.test_n]} == {*class_n}, "every class on both sides"
        for name, drugs in drugs_of.items():
            held_out = len({*drug_n[fold.test_n & (class_n == name)]})
            assert held_out in (drugs // folds, -(-drugs // folds)), "stratified"
    for repeat in range(repeats):
        times = np.sum([fold.test_n for fold in made if fold.repeat == repeat], axis=0)
        assert (times == 1).all(), "each cell is held out once a repeat"


def test_repeats_and_seeds_differ_and_a_seed_repeats():
    drug_n = np.array([f"d{i}" for i in range(16)])
    class_n = np.array(["a", "b"] * 8)

    def dealt(seed):
        return [fold.test_drugs for fold in drug_folds(drug_n, class_n, folds=2, repeats=5, seed=seed)]

    assert dealt(0) == dealt(0) != dealt(1)
    assert len({*map(frozenset, dealt(0))}) == 10


def test_an_odd_drug_is_held_out_with_either_fold():
    """Three drugs in two folds: which fold holds two of them out is drawn, not always the first."""
    drug_n, class_n = np.array(["x", "y", "z"]), np.array(["a"] * 3)
    first = [fold for fold in drug_folds(drug_n, class_n, folds=2, repeats=40, seed=0) if fold.fold == 0]
    assert {fold.test_n.sum() for fold in first} == {1, 2}


@pytest.mark.parametrize(
    ("drugs", "classes", "words"),
    [
        (["x", "y", "z"], ["a", "a", "b"], "class b: 1 drugs are too few to hold one out in each of 2 folds"),
        (["x", "y", "x"], ["a", "a", "b"], "drug x has cells of the classes a and b"),
    ],
    ids=["one drug", "two classes"],
)
def test_what_cannot_be_held_out_is_named(drugs, classes, words):
    with pytest.raises(WcedError, match=words):
        next(drug_folds(np.array(drugs), np.array(classes), folds=2, repeats=1, seed=0))


def test_class_of_drug():
    found = class_of_drug(np.array(["y", "x", "y"]), np.array(["b", "a", "b"]))
    assert found.to_dict() == {"x": "a", "y": "b"}

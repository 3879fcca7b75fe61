import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from wced.benchmarks.matches import JUDGEMENTS, depth_shares, judged, judgement_scores, kind, macro_share, pairs, share
from wced.errors import WcedError
from wced.ontology import CellOntology, load

#       r: a (c, d), b (d, e); d: x        d has two parents
PARENTS = {"r": (), "a": ("r",), "b": ("r",), "c": ("a",), "d": ("a", "b"), "e": ("b",), "x": ("d",)}
ONTOLOGY = CellOntology("v0", {name: name for name in PARENTS}, PARENTS, {"old_c": "c"})


def test_kinds():
    expected = {"cc": "exact", "ax": "descendant", "xb": "ancestor", "cd": "miss", "rx": "descendant"}
    assert {pair: kind(*pair, ONTOLOGY) for pair in expected} == expected


def test_cells_of_a_pair_are_counted_once():
    table = pairs(["c", "c", "c", "x"], ["c", "old_c", "d", "c"], ONTOLOGY)
    assert table.to_dict("list") == {
        "true": ["c", "c", "x"], "predicted": ["c", "d", "c"], "cells": [2, 1, 1], "kind": ["exact", "miss", "miss"],
    }  # fmt: skip
    with pytest.raises(WcedError, match="predicted terms: nonsense is not in the Cell Ontology v0"):
        pairs(["c"], ["nonsense"], ONTOLOGY)


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        pytest.param("CL:0000235", "CL:0000235", "accuracy_exact", id="a macrophage is one"),
        pytest.param("CL:0000129", "CL:0000235", "accuracy_coarser", id="a microglial cell is a macrophage"),
        pytest.param("CL:0000235", "CL:0000129", "finer_unverified", id="a macrophage may be a microglial cell"),
        pytest.param("CL:0000235", "CL:0000738", "accuracy_coarser", id="a macrophage is a leukocyte"),
        pytest.param("CL:0000235", "CL:0000988", "wrong", id="hematopoietic cell tells too little"),
        pytest.param("CL:0000235", "CL:0000000", "wrong", id="cell tells nothing"),
        pytest.param("CL:0000000", "CL:0000000", "accuracy_exact", id="unless it is the truth"),
        pytest.param("CL:0000235", "CL:0000084", "wrong", id="a macrophage is no T cell"),
    ],
)
def test_the_truth_judges(true, predicted, expected):
    ontology = load()
    assert judged(pairs([true], [predicted], ontology), ontology).tolist() == [expected]


def test_judgements_add_up_and_are_those_of_walking_up_from_each_cell():
    ontology = load()
    rng = np.random.default_rng(0)
    terms = sorted(ontology.ancestors("CL:0000624") | ontology.ancestors("CL:0000129") | {"CL:0000066"})
    true_n, predicted_n = rng.choice(terms, size=(2, 400))
    table = judgement_scores(pairs(true_n, predicted_n, ontology), ontology)

    def above(term):
        """All ancestors, with the number of links of the longest way from the root, by walking every way."""
        ways, depth = [(term,)], {}
        while ways:
            way = ways.pop()
            parents = ontology.parents[way[-1]]
            ways += [(*way, parent) for parent in parents]
            if not parents:
                for up, passed in enumerate(reversed(way)):
                    depth[passed] = max(depth.get(passed, 0), up)
        return depth

    expected = dict.fromkeys(JUDGEMENTS, 0)
    for true, predicted in zip(true_n, predicted_n, strict=True):
        of_true, of_predicted = above(true), above(predicted)
        if true == predicted:
            expected["accuracy_exact"] += 1
        elif true in of_predicted:
            expected["finer_unverified"] += 1
        else:
            expected["accuracy_coarser" if of_true.get(predicted, 0) >= 2 else "wrong"] += 1
    assert all(expected.values())
    for name, cells in expected.items():
        assert table[name].value == cells / 400
        assert (table[name].ci_low, table[name].ci_high) == pytest.approx(
            proportion_confint(cells, 400, method="wilson")
        )
    assert sum(table[name].value for name in JUDGEMENTS) == pytest.approx(1)
    known = expected["accuracy_exact"] + expected["accuracy_coarser"]
    assert table["accuracy_lineage_known"].value == pytest.approx(known / 400)


def test_share_has_wilson_intervals():
    table = share([True, False, True], [3, 4, 1])
    assert table.value == 0.5 and table.n == 8
    assert (table.ci_low, table.ci_high) == pytest.approx(proportion_confint(4, 8, method="wilson"))


def test_every_type_counts_as_much():
    table = pairs(["c"] * 90 + ["e"] * 10, ["c"] * 45 + ["d"] * 45 + ["e"] * 10, ONTOLOGY)
    hit = table["kind"] == "exact"
    macro = macro_share(hit, table, seed=0)
    assert macro.value == pytest.approx((0.5 + 1) / 2)
    # Only the half of c varies: its standard error is √(¼ / 90), halved by the mean over two types.
    half = 1.96 * np.sqrt(0.25 / 90) / 2
    assert (macro.ci_low, macro.ci_high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.01)
    assert share(hit, table["cells"]).value == pytest.approx(0.55)


def test_a_macro_share_of_sure_types_has_no_interval():
    table = pairs(["c", "e"], ["c", "d"], ONTOLOGY)
    macro = macro_share(table["kind"] == "exact", table, seed=0)
    assert macro.value == 0.5 and np.isnan([macro.ci_low, macro.ci_high]).all()


def test_depths_by_hand():
    #                true depth: c 2, x 3, a 1;  common: c–c 2, c–d 1 (a), x–e 1 (b), x–d 2, a–e 0
    table = pairs(["c", "c", "x", "x", "a"], ["c", "d", "e", "d", "e"], ONTOLOGY)
    shares = depth_shares(table, ONTOLOGY)
    assert {depth: (score.value, score.n) for depth, score in shares.items()} == {
        1: (pytest.approx(4 / 5), 5), 2: (pytest.approx(2 / 4), 4), 3: (0, 2),
    }  # fmt: skip


def test_depth_shares_agree_with_rolling_up_each_cell_on_the_real_ontology():
    ontology = load()
    rng = np.random.default_rng(0)
    terms = sorted(ontology.descendants("CL:0000738"))[:60]  # leukocytes
    true_n, predicted_n = rng.choice(terms, size=(2, 80))
    predicted_n[:20] = true_n[:20]

    def rolled(term, depth):
        return {above for above in ontology.ancestors(term) if ontology.depths[above] == depth}

    table = depth_shares(pairs(true_n, predicted_n, ontology), ontology)
    assert len(table) == max(ontology.depths[term] for term in true_n)
    for depth, score in table.items():
        deep = [(t, p) for t, p in zip(true_n, predicted_n, strict=True) if ontology.depths[t] >= depth]
        right = [bool(rolled(t, depth) & rolled(p, depth)) for t, p in deep]
        assert (score.value, score.n) == (pytest.approx(np.mean(right)), len(deep))


def test_at_its_own_depth_right_is_exact_or_finer():
    ontology = load()
    table = pairs(["CL:0000084"] * 3, ["CL:0000084", "CL:0000624", "CL:0000542"], ontology)
    depth = ontology.depths["CL:0000084"]
    expected = share(table["kind"].isin(["exact", "descendant"]), table["cells"]).value
    assert depth_shares(table, ontology)[depth].value == expected == pytest.approx(2 / 3)

import numpy as np
import pandas as pd
import pytest
import scib_metrics
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from clouds import clouds, job, scib_scores
from wced.benchmarks.scib import BATCH, BIO, Part, bio, group_means, weighted
from wced.benchmarks.zero_shot_integration import METRICS, Integration
from wced.benchmarks.zero_shot_integration.score import PURITY, score
from wced.stats import CELLS, over_cells

SECTION = Integration(datasets=["d"])


@pytest.fixture(scope="module")
def scored():
    cells = clouds(["CL:1", "CL:2", "CL:3", "unknown"] * 30, (["x"] * 4 + ["y"] * 4) * 15)
    return cells, score(job(cells, SECTION, seed=3, count=10))


def test_parts_are_those_of_scib_metrics(scored):
    cells, table = scored
    kept = cells[cells.obs["cell_type_ontology_term_id"] != "unknown"]
    types, batch = (kept.obs[name].to_numpy(str) for name in ("cell_type_ontology_term_id", "batch"))
    graph, expected = scib_scores(kept.X, types, 10, (3, 4))
    expected["graph_connectivity"] = scib_metrics.graph_connectivity(graph, types)
    expected["asw_batch"] = scib_metrics.silhouette_batch(kept.X, types, batch)
    values = table.set_index("metric")["value"]
    for metric, value in expected.items():
        assert values[metric] == pytest.approx(value, abs=1e-6), metric


def brute_purity(x_nd, types, batches=None):
    """Return each cell's purity of 15 neighbours by all distances in double precision."""
    distance_nn = cdist(x_nd.astype(np.float64), x_nd.astype(np.float64))
    np.fill_diagonal(distance_nn, np.inf)
    if batches is not None:
        distance_nn[batches[:, None] == batches] = np.inf
    return (types[np.argsort(distance_nn, axis=1)[:, :15]] == types[:, None]).mean(axis=1)


def test_purity_is_that_of_all_distances():
    rng = np.random.default_rng(3)
    types = rng.choice(["CL:1", "CL:2", "CL:3", "CL:4", "unknown"], size=240, p=[0.5, 0.25, 0.1, 0.05, 0.1])
    batches = np.where(types == "CL:4", "z", rng.choice(["x", "y", "z"], size=240, p=[0.5, 0.3, 0.2]))
    cells = clouds(list(types), list(batches))
    cells.X[:, 0] /= 4  # so near to each other that neighbours are of several types
    table = score(job(cells, SECTION, count=10)).set_index("metric")
    labelled = types != "unknown"
    x_nd, types, batches = cells.X[labelled], types[labelled], batches[labelled]
    pure_n, across_n = brute_purity(x_nd, types), brute_purity(x_nd, types, batches)
    assert 0.3 < pure_n.mean() < 0.9
    values = table["value"]
    assert values["neighbour_purity"] == pytest.approx(pure_n.mean())
    assert values["neighbour_purity_macro"] == pytest.approx(pd.Series(pure_n).groupby(types).mean().mean())
    elsewhere = types != "CL:4"  # of batch z alone
    assert values["neighbour_purity_across_batches"] == pytest.approx(across_n[elsewhere].mean())
    assert table.loc["neighbour_purity_across_batches", "n"] == elsewhere.sum() < table.loc["neighbour_purity", "n"]
    half = (table["ci_high"] - table["ci_low"]) / 2
    assert half["neighbour_purity"] == pytest.approx(1.96 * pure_n.std() / np.sqrt(len(pure_n)), rel=0.15)
    assert table.loc["neighbour_purity", "ci_method"] == CELLS


def test_purity_of_15_others_does_not_depend_on_the_graph():
    cells = clouds(["CL:1", "CL:2", "CL:3"] * 30, ["x", "y"] * 45)
    tables = [score(job(cells, SECTION, count=count, cluster_seeds=1)).set_index("metric") for count in (5, 15, 30)]
    for metric in PURITY:
        assert len({table.loc[metric, "value"] for table in tables}) == 1


def test_asw_batch_passes_over_the_types_that_scib_metrics_passes_over():
    types = ["CL:1"] * 30 + ["CL:2"] * 20 + ["CL:3"] * 2 + ["CL:4"] * 20
    batches = ["x", "y"] * 15 + ["x"] * 20 + ["x", "y"] + ["x", "y", "z", "x"] * 5
    cells = clouds(types, batches)
    parts = score(job(cells, SECTION, count=8)).set_index("metric")["value"]
    expected = scib_metrics.silhouette_batch(cells.X, np.array(types), np.array(batches))
    assert parts["asw_batch"] == pytest.approx(expected, abs=1e-6)


def test_composites_by_hand(scored):
    values = scored[1].set_index("metric")["value"]
    bio = (values["nmi"] + values["ari"] + values["asw_label"]) / 3
    batch = (values["graph_connectivity"] + values["asw_batch"]) / 2
    assert values["avg_bio"] == pytest.approx(bio)
    assert values["avg_batch"] == pytest.approx(batch)
    assert values["overall"] == pytest.approx(0.6 * bio + 0.4 * batch)


def test_the_draws_of_a_composite_are_those_of_its_parts():
    a, b = Part(np.array([1.0]), np.array([1.0, 2.0, 3.0])), Part(np.array([5.0]), np.array([3.0, 2.0, 1.0]))
    whole = weighted({"a": a, "b": b}, {"a": 0.5, "b": 0.5})
    # Where one goes up the other goes down: their mean does not vary at all.
    assert whole.value_c == 3 and whole.sampled_s.tolist() == [2, 2, 2] and whole.score.ci_low == 3
    assert weighted({"a": a, "b": Part(reason="because")}, {"a": 1, "b": 1}).score.reason == "because"


def test_a_composite_is_made_for_each_seed_of_the_clustering():
    a, b = Part(np.array([1.0, 2.0, 6.0]), np.zeros(5)), Part(np.array([4.0]), np.zeros(5))  # b has no clustering
    whole = weighted({"a": a, "b": b}, {"a": 0.5, "b": 0.5})
    assert whole.value_c.tolist() == [2.5, 3, 5] and whole.score.value == pytest.approx(3.5)


def test_of_each_seed_the_best_resolution_counts():
    label_n = np.repeat(["a", "b"], 20)
    right_n, poor_n, wrong_n = np.repeat([0, 1], 20), np.arange(40) % 2, np.zeros(40, int)
    shifted_n = np.repeat([0, 1], [18, 22])
    x_nd = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    parts = bio(x_nd, label_n, np.array([[poor_n, right_n, wrong_n], [shifted_n, poor_n, wrong_n]]), np.ones((3, 40)))
    assert parts["nmi"].value_c == pytest.approx([1, normalized_mutual_info_score(label_n, shifted_n)])
    assert parts["ari"].value_c == pytest.approx([1, adjusted_rand_score(label_n, shifted_n)])
    assert parts["ari"].sampled_s == pytest.approx([parts["ari"].value_c.mean()] * 3)  # each draw has every cell once
    assert parts["asw_label"].value_c.shape == (1,)


def test_the_spread_over_seeds_is_in_the_interval_of_what_is_clustered():
    cells = clouds(["CL:1", "CL:2", "CL:3"] * 60, ["x", "y"] * 90)
    cells.X[:, 0] /= 8  # no clear clusters: each seed finds others
    one, several = (score(job(cells, SECTION, count=10, cluster_seeds=k)).set_index("metric") for k in (1, 8))
    assert "over 8 seeds of the clustering" in several.loc["avg_bio", "ci_method"]
    assert several.loc["asw_label", "ci_method"] == one.loc["avg_bio", "ci_method"] == CELLS
    by_seed = [score(job(cells, SECTION, seed=s, count=10, cluster_seeds=1)).set_index("metric") for s in range(8)]
    values = np.array([table.loc["nmi", "value"] for table in by_seed])
    assert values.std() > 0 and several.loc["nmi", "value"] == pytest.approx(values.mean())
    half = (several.loc["nmi", "ci_high"] - several.loc["nmi", "ci_low"]) / 2
    assert half > 1.96 * values.std(ddof=1) / np.sqrt(8)


def test_intervals_are_around_the_values_and_shrink_with_more_cells(scored):
    def widths(table):
        assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"])).all()
        return (table["ci_high"] - table["ci_low"]).to_numpy()[[0, 2, 3]]

    many = clouds(["CL:1", "CL:2", "CL:3", "unknown"] * 300, (["x"] * 4 + ["y"] * 4) * 150)
    few, more = widths(scored[1]), widths(score(job(many, SECTION, seed=3, count=10)))
    assert (more < 0.5 * few).all()


def test_a_cell_outside_the_largest_piece_lowers_the_draws_that_have_it():
    value = over_cells(np.array([0.9]), group_means(np.array([1.0] * 9 + [0.0]), np.zeros(10, int), np.ones((5, 10))))
    assert (value.ci_low, value.ci_high) == (0.9, 0.9)  # every draw has it once


def test_rows_say_what_was_scored(scored):
    table = scored[1]
    assert table["metric"].tolist() == [metric.name for metric in METRICS]
    assert set(table["n"]) == {90} and set(table["split"]) == {"all cells but 30 without a cell type"}
    assert set(table["model"]) == {"m"} and set(table["n_params"]) == {5} and set(table["seed"]) == {3}
    assert table["protocol"].str.contains(r"scib-metrics \d+\.\d+\.\d+.*10 neighbours", regex=True).all()
    assert table["protocol"].str.contains("2 seeds of the clustering alone (3 to 4;", regex=False).all()


def test_the_same_seed_gives_the_same_scores(scored):
    cells, table = scored
    pd.testing.assert_frame_equal(table, score(job(cells, SECTION, seed=3, count=10)))


COMPOSITES = ["avg_bio", "avg_batch", "overall"]
UNLABELLED, PAIRS = ["CL:1", "CL:2", "unknown", "unknown", "unknown"] * 4, ["CL:1", "CL:2"] * 20
FEW_OTHERS = ["x"] * 30 + ["y"] * 6 + ["z"] * 4
CASES = {
    "one batch": (PAIRS, ["x"] * 40, [*BATCH, *COMPOSITES[1:], PURITY[2]], "one batch"),
    "one type": (["CL:1"] * 40, ["x", "y"] * 20, [*BIO, "avg_bio", "overall", *PURITY], "one type"),
    "batch is type": (PAIRS, ["x", "y"] * 20, ["asw_batch", *COMPOSITES[1:], PURITY[2]], "no cell type has"),
    "few cells": (UNLABELLED, ["x"] * 20, [*BIO, *BATCH, *COMPOSITES, *PURITY], "8 labelled cells are too few"),
    "no two cells of a type": (
        [f"CL:{i}" for i in range(30)], ["x"] * 30, [*BIO, *BATCH, *COMPOSITES, PURITY[2]], "type of its own|one batch",
    ),
    "few others": (PAIRS[:14], ["x"] * 7 + ["y"] * 7, [*PURITY], "14 labelled cells are too few for 15"),
    "few of other batches": (PAIRS, FEW_OTHERS, [PURITY[2]], "all batches but x have 10 labelled cells together"),
}  # fmt: skip


@pytest.mark.parametrize(("cell_type", "batch", "empty", "reason"), CASES.values(), ids=CASES)
def test_what_cannot_be_computed_is_empty_with_its_reason(cell_type, batch, empty, reason):
    table = score(job(clouds(cell_type, batch), SECTION, count=10)).set_index("metric")
    assert sorted(table.index[table["value"].isna()]) == sorted(empty)
    assert table.loc[empty, "reason"].str.contains(reason).all()
    assert (table.loc[table["value"].notna(), "reason"] == "").all()

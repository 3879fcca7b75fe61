import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from wced.benchmarks.zero_shot_integration import score
from wced.config.benchmarks import Integration

SECTION = Integration(datasets=["d"], neighbours=10)
BIO, BATCH = ["nmi", "ari", "asw_label"], ["graph_connectivity", "asw_batch"]


def embedding(cell_type, batch, seed=0) -> AnnData:
    """Cells that scatter around a centre of their type, with a small shift by batch."""
    rng = np.random.default_rng(seed)
    types, batches = pd.factorize(np.array(cell_type))[0], pd.factorize(np.array(batch))[0]
    x_nd = rng.normal(size=(len(types), 4)).astype(np.float32)
    x_nd[:, 0] += 4 * types
    x_nd[:, 1] += batches
    obs = pd.DataFrame(
        {"cell_type_ontology_term_id": pd.Categorical(cell_type), "batch": pd.Categorical(batch)},
        index=[f"c{i}" for i in range(len(types))],
    )
    facts = {"model": "m", "dataset": "d", "n_params": 5, "width": 4, "leakage": "none"}
    return AnnData(X=x_nd, obs=obs, uns={"wced": facts})


@pytest.fixture(scope="module")
def scored():
    cells = embedding(["CL:1", "CL:2", "CL:3", "unknown"] * 30, (["x"] * 4 + ["y"] * 4) * 15)
    return cells, score(cells, SECTION, run="r", seed=3)


def test_parts_are_those_of_scib_metrics(scored):
    import scib_metrics
    from scib_metrics.nearest_neighbors import NeighborsResults
    from scipy.spatial.distance import cdist

    cells, table = scored
    kept = cells[cells.obs["cell_type_ontology_term_id"] != "unknown"]
    types, batch = (kept.obs[name].to_numpy(str) for name in ("cell_type_ontology_term_id", "batch"))
    distances = cdist(kept.X, kept.X)
    nearest = np.argsort(distances, axis=1)[:, :10]
    graph = NeighborsResults(nearest, np.take_along_axis(distances, nearest, axis=1))
    expected = {
        **scib_metrics.nmi_ari_cluster_labels_leiden(graph, types, seed=3),
        "asw_label": scib_metrics.silhouette_label(kept.X, types),
        "graph_connectivity": scib_metrics.graph_connectivity(graph, types),
        "asw_batch": scib_metrics.silhouette_batch(kept.X, types, batch),
    }
    values = table.set_index("metric")["value"]
    for metric, value in expected.items():
        assert values[metric] == pytest.approx(value, abs=1e-6), metric


def test_composites_by_hand(scored):
    values = scored[1].set_index("metric")["value"]
    bio = (values["nmi"] + values["ari"] + values["asw_label"]) / 3
    batch = (values["graph_connectivity"] + values["asw_batch"]) / 2
    assert values["avg_bio"] == pytest.approx(bio)
    assert values["avg_batch"] == pytest.approx(batch)
    assert values["overall"] == pytest.approx(0.6 * bio + 0.4 * batch)


def test_rows_say_what_was_scored(scored):
    table = scored[1]
    assert set(table["n"]) == {90} and set(table["split"]) == {"all cells but 30 without a cell type"}
    assert set(table["model"]) == {"m"} and set(table["n_params"]) == {5} and set(table["seed"]) == {3}
    assert table["protocol"].str.contains(r"scib-metrics \d+\.\d+\.\d+", regex=True).all()


def test_the_same_seed_gives_the_same_scores(scored):
    cells, table = scored
    pd.testing.assert_frame_equal(table, score(cells, SECTION, run="r", seed=3))


@pytest.mark.parametrize(
    ("cell_type", "batch", "empty", "reason"),
    [
        pytest.param(["CL:1", "CL:2"] * 20, ["x"] * 40, [*BATCH, "avg_batch", "overall"], "one batch", id="one batch"),
        pytest.param(["CL:1"] * 40, ["x", "y"] * 20, [*BIO, "avg_bio", "overall"], "one type", id="one type"),
        pytest.param(
            ["CL:1", "CL:2"] * 20,
            ["x", "y"] * 20,
            ["asw_batch", "avg_batch", "overall"],
            "no cell type has cells of several batches",
            id="batch is type",
        ),
        pytest.param(
            ["CL:1", "CL:2", "unknown", "unknown", "unknown"] * 4,
            ["x"] * 20,
            [*BIO, *BATCH, "avg_bio", "avg_batch", "overall"],
            "8 labelled cells are too few",
            id="few cells",
        ),
    ],
)
def test_what_cannot_be_computed_is_empty_with_its_reason(cell_type, batch, empty, reason):
    table = score(embedding(cell_type, batch), SECTION, run="r", seed=0).set_index("metric")
    assert sorted(table.index[table["value"].isna()]) == sorted(empty)
    assert table.loc[empty, "reason"].str.contains(reason).all()
    assert (table.loc[table["value"].notna(), "reason"] == "").all()

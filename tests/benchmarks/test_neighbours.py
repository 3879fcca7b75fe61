import random

import igraph
import numpy as np
import pytest
import scib_metrics
from scib_metrics.metrics._nmi_ari import _compute_clustering_leiden
from scib_metrics.nearest_neighbors import NeighborsResults
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from clouds import clouds
from wced.benchmarks.neighbours import (
    RESOLUTIONS,
    connectivities,
    leiden,
    nearest,
    nearest_of_other_groups,
    neighbours_of,
    read_neighbours,
    write_neighbours,
)
from wced.errors import WcedError

TYPES, BATCHES = ["CL:1", "CL:2", "unknown", "CL:3"] * 20, ["x", "y"] * 40


def test_graph_is_exact_and_of_the_labelled_cells_only():
    cells = clouds(TYPES, BATCHES)
    graph_of = neighbours_of(cells, 7, seed=1, cluster_seeds=1)
    kept = cells[np.array(TYPES) != "unknown"]
    assert graph_of.cell_n.tolist() == kept.obs_names.tolist()
    distance_nn = cdist(kept.X.astype(np.float64), kept.X.astype(np.float64))
    order_nn = np.argsort(distance_nn, axis=1)
    assert graph_of.indices_nk.shape == (60, 15)
    np.testing.assert_allclose(graph_of.distances_nk, np.sort(distance_nn, axis=1)[:, 1:16], atol=1e-5)
    np.testing.assert_array_equal(graph_of.indices_nk, order_nn[:, 1:16])
    np.testing.assert_array_equal(graph_of.graph_nn.indices.reshape(60, 6), order_nn[:, 1:7])
    assert graph_of.reason == "" and (graph_of.graph_nn.sum(axis=1) == 6).all()


def theirs(indices_nk, distances_nk):
    """Return the graph as scib-metrics takes it, in which a cell is its own first neighbour."""
    itself_n1 = np.arange(len(indices_nk))[:, None]
    return NeighborsResults(
        np.hstack([itself_n1, indices_nk]).astype(np.int32), np.hstack([0.0 * itself_n1, distances_nk])
    )


def test_weights_are_those_of_scib_metrics():
    other = nearest(np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32), 9)
    weights_nn, expected_nn = connectivities(*other).tocsr(), theirs(*other).knn_graph_connectivities.tocsr()
    assert (weights_nn != expected_nn).nnz == 0 and weights_nn.nnz > 300 * 9


def test_a_cell_is_at_no_distance_from_itself():
    """UMAP takes the least distance above 0 for that to the nearest neighbour, and rounding is above 0."""
    x_nd = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    indices_nk, distances_nk = nearest(x_nd, 9)
    assert (distances_nk[:, 0] > 1).all()
    # So the nearest neighbour is joined with the full weight of 1, as UMAP promises.
    weight_nn = connectivities(indices_nk, distances_nk).toarray()
    np.testing.assert_allclose(weight_nn[np.arange(300), indices_nk[:, 0]], 1, rtol=1e-6)


def test_cells_in_one_point_are_neighbours_of_each_other_and_not_of_themselves():
    indices_nk, distances_nk = nearest(np.zeros((6, 3), np.float32), 4)
    assert (distances_nk == 0).all() and not (indices_nk == np.arange(6)[:, None]).any()
    assert all(len(set(cells)) == 4 for cells in indices_nk.tolist())


def test_neighbours_of_other_groups_are_exact():
    rng = np.random.default_rng(1)
    x_nd, group_n = rng.normal(size=(90, 5)).astype(np.float32), rng.integers(4, size=90)
    distance_nn = cdist(x_nd.astype(np.float64), x_nd.astype(np.float64))
    distance_nn[group_n[:, None] == group_n] = np.inf
    np.testing.assert_array_equal(nearest_of_other_groups(x_nd, group_n, 6), np.argsort(distance_nn, axis=1)[:, :6])


def test_clusterings_are_those_that_scib_metrics_scores():
    cells = clouds(TYPES, BATCHES)
    graph_of = neighbours_of(cells, 10, seed=5, cluster_seeds=3)
    labels = cells.obs["cell_type_ontology_term_id"].to_numpy(str)[np.array(TYPES) != "unknown"]
    assert graph_of.clusters_crn.shape == (3, 10, 60) and RESOLUTIONS[0] == 0.2 and RESOLUTIONS[-1] == 2
    assert graph_of.seed_c.tolist() == [5, 6, 7]
    graph = theirs(graph_of.indices_nk[:, :9], graph_of.distances_nk[:, :9])
    for seed, clusters_rn in zip(graph_of.seed_c, graph_of.clusters_crn, strict=True):
        for resolution, cluster_n in zip(RESOLUTIONS, clusters_rn, strict=True):
            directly = _compute_clustering_leiden(graph.knn_graph_connectivities, resolution, int(seed))
            np.testing.assert_array_equal(cluster_n, directly)
            expected = scib_metrics.nmi_ari_cluster_labels_leiden(
                graph, labels, optimize_resolution=False, resolution=resolution, seed=int(seed)
            )
            assert normalized_mutual_info_score(labels, cluster_n) == expected["nmi"]
            assert adjusted_rand_score(labels, cluster_n) == expected["ari"]


def test_a_clustering_depends_on_its_seed_alone():
    graph = connectivities(*nearest(np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32), 9))
    several_crn = leiden(graph, [3, 4, 5])
    igraph.set_random_number_generator(random.Random(99))
    np.testing.assert_array_equal(leiden(graph, [4])[0], several_crn[1])
    np.testing.assert_array_equal(leiden(graph, [4], [RESOLUTIONS[7]])[0, 0], several_crn[1, 7])
    assert (several_crn[0] != several_crn[1]).any()


def test_the_file_gives_back_what_was_written_and_the_same_bytes(tmp_path):
    cells = clouds(TYPES, BATCHES)
    for name in ("a.npz", "b.npz"):
        write_neighbours(tmp_path / name, neighbours_of(cells, 7, seed=1, cluster_seeds=2))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    graph_of, other = neighbours_of(cells, 7, seed=1, cluster_seeds=2), read_neighbours(tmp_path / "a.npz", cells)
    for name, value in vars(graph_of).items():
        np.testing.assert_array_equal(getattr(other, name), value)
    again_crn = leiden(connectivities(other.indices_nk[:, :6], other.distances_nk[:, :6]), [1, 2])
    np.testing.assert_array_equal(again_crn, other.clusters_crn)


def test_neighbours_of_other_cells_are_refused(tmp_path):
    write_neighbours(tmp_path / "a.npz", neighbours_of(clouds(TYPES, BATCHES), 7, seed=1, cluster_seeds=1))
    with pytest.raises(WcedError, match=r"a\.npz: its cells are not the labelled ones of the embedding"):
        read_neighbours(tmp_path / "a.npz", clouds(TYPES[::-1], BATCHES))
    with pytest.raises(WcedError, match=r"b\.npz: no such file"):
        read_neighbours(tmp_path / "b.npz", clouds(TYPES, BATCHES))


@pytest.mark.parametrize("n", [0, 6])
def test_too_few_cells_have_no_graph_and_say_so(tmp_path, n):
    cells = clouds(["CL:1"] * n + ["unknown"] * (8 - n), ["x"] * 8)
    write_neighbours(tmp_path / "few.npz", neighbours_of(cells, 6, seed=0, cluster_seeds=1))
    assert read_neighbours(tmp_path / "few.npz", cells).reason == f"{n} labelled cells are too few for 6 neighbours"

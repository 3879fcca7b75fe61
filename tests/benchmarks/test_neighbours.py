import numpy as np
import pytest
from scipy.spatial.distance import cdist

from clouds import clouds
from wced.benchmarks.neighbours import RESOLUTIONS, leiden, neighbours_of, read_neighbours, write_neighbours
from wced.errors import WcedError

TYPES, BATCHES = ["CL:1", "CL:2", "unknown", "CL:3"] * 20, ["x", "y"] * 40


def test_graph_is_exact_and_of_the_labelled_cells_only():
    cells = clouds(TYPES, BATCHES)
    made = neighbours_of(cells, 7, seed=1)
    kept = cells[np.array(TYPES) != "unknown"]
    assert made.cell_n.tolist() == kept.obs_names.tolist()
    distance_nn = cdist(kept.X, kept.X)
    np.testing.assert_allclose(made.distances_nk, np.sort(distance_nn, axis=1)[:, :7], atol=1e-3)
    np.testing.assert_array_equal(made.indices_nk, np.argsort(distance_nn, axis=1)[:, :7])
    assert made.reason == "" and made.graph.n_neighbors == 7


def test_clusterings_are_those_that_scib_metrics_scores():
    import scib_metrics
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    cells = clouds(TYPES, BATCHES)
    made = neighbours_of(cells, 10, seed=5)
    labels = cells.obs["cell_type_ontology_term_id"].to_numpy(str)[np.array(TYPES) != "unknown"]
    assert made.clusters_rn.shape == (10, 60) and RESOLUTIONS[0] == 0.2 and RESOLUTIONS[-1] == 2
    for resolution, cluster_n in zip(RESOLUTIONS, made.clusters_rn, strict=True):
        theirs = scib_metrics.nmi_ari_cluster_labels_leiden(
            made.graph, labels, optimize_resolution=False, resolution=resolution, seed=5
        )
        assert normalized_mutual_info_score(labels, cluster_n) == theirs["nmi"]
        assert adjusted_rand_score(labels, cluster_n) == theirs["ari"]


def test_the_file_gives_back_what_was_written_and_the_same_bytes(tmp_path):
    cells = clouds(TYPES, BATCHES)
    for name in ("a.npz", "b.npz"):
        write_neighbours(tmp_path / name, neighbours_of(cells, 7, seed=1))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    made, found = neighbours_of(cells, 7, seed=1), read_neighbours(tmp_path / "a.npz", cells)
    for name, value in vars(made).items():
        np.testing.assert_array_equal(getattr(found, name), value)
    np.testing.assert_array_equal(leiden(found.graph, 1), found.clusters_rn)


def test_neighbours_of_other_cells_are_refused(tmp_path):
    write_neighbours(tmp_path / "a.npz", neighbours_of(clouds(TYPES, BATCHES), 7, seed=1))
    with pytest.raises(WcedError, match=r"a\.npz: its cells are not the labelled ones of the embedding"):
        read_neighbours(tmp_path / "a.npz", clouds(TYPES[::-1], BATCHES))
    with pytest.raises(WcedError, match=r"b\.npz: no such file"):
        read_neighbours(tmp_path / "b.npz", clouds(TYPES, BATCHES))


@pytest.mark.parametrize("n", [0, 6])
def test_too_few_cells_have_no_graph_and_say_so(tmp_path, n):
    cells = clouds(["CL:1"] * n + ["unknown"] * (8 - n), ["x"] * 8)
    write_neighbours(tmp_path / "few.npz", neighbours_of(cells, 6, seed=0))
    assert read_neighbours(tmp_path / "few.npz", cells).reason == f"{n} labelled cells are too few for 6 neighbours"

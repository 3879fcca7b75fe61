import numpy as np
import pandas as pd
import pytest

from wced.embedding.files import write_embedding
from wced.errors import WcedError
from wced.figures import OTHER, PALETTE, save
from wced.report.figures import gene_figure, loss_figure, qc_figure, umap_figure, umaps


def write(path, x_nd, cell_types) -> list:
    obs = pd.DataFrame({"cell_type": cell_types, "batch": "x"}, index=[f"c{i}" for i in range(len(x_nd))])
    write_embedding(path, x_nd, obs, model="m", dataset="d", n_params=0, leakage="none")
    return [path]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    x_nd = np.random.default_rng(0).normal(size=(60, 3)) + np.repeat([[0], [50]], 30, axis=0)
    return write(tmp_path_factory.mktemp("umap") / "m.h5ad", x_nd, ["T", "B"] * 30)


def test_umap_keeps_groups_apart_and_depends_on_the_seed(embeddings):
    table = umaps(embeddings, neighbours=10, seed=0)
    assert table["cell"].tolist()[:2] == ["c0", "c1"] and set(table["model"]) == {"m"}
    xy = table[["umap_1", "umap_2"]].to_numpy()
    distances = np.linalg.norm(xy[:, None] - xy, axis=2)
    assert distances[:30, 30:].min() > distances[:30, :30].max()
    pd.testing.assert_frame_equal(table, umaps(embeddings, neighbours=10, seed=0))
    assert not np.allclose(xy, umaps(embeddings, neighbours=10, seed=1)[["umap_1", "umap_2"]])


def test_umap_of_too_few_cells_is_refused(embeddings):
    with pytest.raises(WcedError, match="umap_neighbours: 60 is not below the 60 cells of "):
        umaps(embeddings, neighbours=60, seed=0)


@pytest.mark.release(part="scale")
def test_umap_of_many_cells(tmp_path):
    """Above 4,096 cells scanpy searches neighbours with another library."""
    x_nd = np.random.default_rng(0).normal(size=(4200, 3))
    table = umaps(write(tmp_path / "m.h5ad", x_nd, "T"), neighbours=10, seed=0)
    assert len(table) == 4200 and np.isfinite(table[["umap_1", "umap_2"]].to_numpy()).all()


def coordinates(n_types: int, models=("a", "b")) -> pd.DataFrame:
    n = n_types * (n_types + 1) // 2
    types = np.repeat([f"t{i}" for i in range(n_types)], np.arange(1, n_types + 1))
    frame = pd.DataFrame({"cell_type": types, "umap_1": np.arange(n), "umap_2": np.arange(n)})
    return pd.concat([frame.assign(model=model) for model in models])


@pytest.mark.parametrize(
    ("n_types", "entries", "last"),
    [pytest.param(3, 3, "t0 (1)", id="few"), pytest.param(11, 10, "2 others (3)", id="more than colours")],
)
def test_umap_shows_every_cell_and_its_legend_the_largest_classes(n_types, entries, last):
    figure = umap_figure(coordinates(n_types), "cell_type", ["a", "b"])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == entries and labels[0] == f"t{n_types - 1} ({n_types})" and labels[-1] == last
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    cells = n_types * (n_types + 1) // 2
    assert [len(axis.collections[0].get_offsets()) for axis in figure.axes] == [cells] * 2
    assert len(set(PALETTE)) == len(PALETTE) and OTHER not in PALETTE


def test_loss_figure_has_a_panel_for_every_metric():
    rows = [
        (checkpoint, split, epoch, epoch, metric, 0.5)
        for checkpoint in ("a", "b")
        for split in ("train", "validation")
        for epoch in (1, 2)
        for metric in ("value", "loss", "donor_id", "donor_id_accuracy")
    ]
    figure = loss_figure(pd.DataFrame(rows, columns=["checkpoint", "split", "epoch", "step", "metric", "value"]))
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["total loss", "value loss", "donor id loss", "donor id accuracy"]
    assert [len(axis.lines) for axis in figure.axes] == [4] * 4


def genes() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "checkpoint": "a",
            "decoder": "wced",
            "gene_id": ["g0", "g1", "g2"],
            "n_nonzero": [100, 100, 1],
            "zero_fraction": [0.1, 0.2, 0.9],
            "detection_auc": 0.8,
            "rescaled_mae": [0.4, 0.6, 0.1],
            "rescaled_null_mae": 0.5,
        }
    )


@pytest.mark.parametrize(
    ("decoders", "titles"),
    [
        (["wced"], ["a: 1 of 2 genes beat the null"]),
        (["wced", "mlm"], ["a (wced): 1 of 2 genes beat the null", "a (mlm): 1 of 2 genes beat the null"]),
    ],
    ids=["one decoder", "two decoders"],
)
def test_gene_figure_counts_reliable_genes_that_beat_the_null(decoders, titles):
    errors = pd.concat([genes().assign(decoder=decoder) for decoder in decoders])
    figure = gene_figure(errors, ["a"], min_nonzero=10)
    assert [axis.get_title() for axis in figure.axes[: len(titles)]] == titles


def test_gene_figure_without_a_reliable_gene(tmp_path):
    figure = gene_figure(genes(), ["a"], min_nonzero=1000)
    assert figure.axes[0].get_title() == "a: 0 of 0 genes beat the null"
    save(figure, tmp_path / "genes.svg")
    assert "<dc:date>" not in (tmp_path / "genes.svg").read_text()


def qc(n_datasets: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Dataset i has lost i of its 50 cells."""
    rows = []
    for i in range(n_datasets):
        rows += [(f"d{i:02}", "counts", low, 10 * low, 25, 25 - i // 2) for low in (100, 10_000)]
        rows.append((f"d{i:02}", "mt_fraction", 0.0, 0.01, 50, 50 - i))
    rules = [("low_counts", 200, np.nan), ("outlier_counts", 300, 50_000), ("not_primary", np.nan, np.nan)]
    limits = [(f"d{i:02}", rule, low, high, 50, 0, 0) for i in range(n_datasets) for rule, low, high in rules]
    return (
        pd.DataFrame(rows, columns=["dataset", "metric", "low", "high", "cells", "kept"]),
        pd.DataFrame(limits, columns=["dataset", "rule", "low", "high", "cells", "failing", "removed"]),
    )


def test_qc_figure_has_a_row_for_each_dataset_and_its_tightest_limits():
    figure = qc_figure(*qc(3))
    assert [axis.get_xlabel() for axis in figure.axes] == ["total counts", "mitochondrial fraction"]
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["d02  96%", "d01  100%", "d00  100%"]
    ends = [path.vertices[0, 0] for lines in figure.axes[0].collections for path in lines.get_paths()]
    assert sorted(ends) == [300] * 3 + [50_000] * 3
    cells, kept = figure.axes[0].patches[:2]
    # Between the two bins of counts there is nothing.
    assert (cells.get_data().values > 0).tolist() == (kept.get_data().values > 0).tolist() == [True, False, True]


def test_qc_figure_of_many_datasets_shows_those_that_lost_most():
    figure = qc_figure(*qc(40), most=6)
    assert [text.get_text()[:3] for text in figure.axes[0].get_yticklabels()] == [f"d{i}" for i in range(39, 33, -1)]


def test_qc_figure_without_limits(tmp_path):
    histograms, limits = qc(2)
    save(qc_figure(histograms[histograms["metric"] == "counts"], limits[:0]), tmp_path / "qc.svg")
    assert (tmp_path / "qc.svg").stat().st_size > 1000

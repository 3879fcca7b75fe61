import numpy as np
import pandas as pd
import pytest

from wced.report.figures import OTHER, PALETTE, gene_figure, loss_figure, save, umap_figure


def coordinates(n_types: int, models=("a", "b")) -> pd.DataFrame:
    n = n_types * (n_types + 1) // 2
    types = np.repeat([f"t{i}" for i in range(n_types)], np.arange(1, n_types + 1))
    frame = pd.DataFrame({"cell_type": types, "umap_1": np.arange(n), "umap_2": np.arange(n)})
    return pd.concat([frame.assign(model=model) for model in models])


@pytest.mark.parametrize(
    ("n_types", "entries", "last"),
    [pytest.param(3, 3, "t0 (1)", id="few"), pytest.param(11, 10, "2 others (3)", id="more than colours")],
)
def test_umap_legend_has_the_largest_classes_and_the_rest_in_grey(n_types, entries, last):
    figure = umap_figure(coordinates(n_types), "cell_type", ["a", "b"])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == entries and labels[0] == f"t{n_types - 1} ({n_types})" and labels[-1] == last
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    assert len(set(PALETTE)) == len(PALETTE) and OTHER not in PALETTE


def test_umap_shows_every_cell_of_every_model():
    figure = umap_figure(coordinates(4), "cell_type", ["a", "b"])
    assert [len(axis.collections[0].get_offsets()) for axis in figure.axes] == [10, 10]


def test_loss_figure_has_a_panel_for_every_metric():
    rows = [
        (checkpoint, split, epoch, epoch, metric, 0.5)
        for checkpoint in ("a", "b")
        for split in ("train", "validation")
        for epoch in (1, 2)
        for metric in ("value", "loss", "donor_id", "donor_id_accuracy")
    ]
    figure = loss_figure(
        pd.DataFrame(rows, columns=["checkpoint", "split", "epoch", "step", "metric", "value"]), ["a", "b"]
    )
    assert [axis.get_title() for axis in figure.axes] == [
        "total loss",
        "value loss",
        "donor id loss",
        "donor id accuracy",
    ]
    assert [len(axis.lines) for axis in figure.axes] == [4] * 4


def genes() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "checkpoint": "a",
            "gene_id": ["g0", "g1", "g2"],
            "n_nonzero": [100, 100, 1],
            "zero_fraction": [0.1, 0.2, 0.9],
            "detection_auc": 0.8,
            "rescaled_mae": [0.4, 0.6, 0.1],
            "rescaled_null_mae": 0.5,
        }
    )


def test_gene_figure_counts_reliable_genes_that_beat_the_null():
    figure = gene_figure(genes(), ["a"], min_nonzero=10)
    assert figure.axes[0].get_title() == "a: 1 of 2 genes beat the null"


def test_gene_figure_without_a_reliable_gene_says_so(tmp_path):
    figure = gene_figure(genes(), ["a"], min_nonzero=1000)
    assert figure.axes[0].get_title() == "a: 0 of 0 genes beat the null"
    save(figure, tmp_path / "genes.svg")
    assert "<dc:date>" not in (tmp_path / "genes.svg").read_text()

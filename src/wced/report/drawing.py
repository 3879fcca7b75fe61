"""The figures of the report with their captions and the numbers behind them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from wced.figures import save_figure
from wced.report.figures import gene_figure, loss_figure, qc_figure, umap_figure

COLOURS = ("cell_type", "batch")
"""What the UMAPs of a dataset are coloured by."""


def draw_umaps(coordinates: pd.DataFrame, neighbours: int, folder: Path) -> None:
    """Write the UMAPs of one dataset, `umap_<dataset>_<colour>`, a panel per model.

    Parameters
    ----------
    coordinates
        Rows of tables.UMAP of one dataset.
    neighbours
        Neighbours of the graph that was laid out.
    folder
        Folder to write to.
    """
    dataset, models = coordinates["dataset"].iloc[0], list(dict.fromkeys(coordinates["model"]))
    cells = coordinates["model"].eq(models[0]).sum()
    for colour in COLOURS:
        said = colour.replace("_", " ")
        middles = coordinates.groupby(["model", colour], sort=False)
        save_figure(
            folder,
            f"umap_{dataset}_{colour}",
            umap_figure(coordinates, colour, models),
            title=f"UMAPs of {dataset} by {said}",
            caption=(
                f"Each panel lays out the same {cells:,} cells by one embedding ({neighbours} neighbours, Euclidean "
                "distances). Distances between groups and their sizes mean nothing; whether colours mix does. The nine "
                f"largest classes have a colour. The numbers are the cells and the median place of each {said}; "
                f"report/umap/{dataset}.parquet has all cells."
            ),
            data=middles.agg(
                cells=("cell", "size"), median_umap_1=("umap_1", "median"), median_umap_2=("umap_2", "median")
            ).reset_index(),
        )


def draw_losses(metrics: pd.DataFrame, folder: Path) -> None:
    """Write `losses`: losses and accuracies of all checkpoints (rows of tables.METRICS) by step."""
    save_figure(
        folder,
        "losses",
        loss_figure(metrics, list(dict.fromkeys(metrics["checkpoint"]))),
        title="Losses and accuracies by step",
        caption=(
            "Thin: training batches; dots: the validation cells after each epoch. Reconstruction losses of masked "
            "language modelling and of whole-cell decoding are over different targets, so their heights do not compare."
        ),
        data=metrics,
    )


def draw_genes(errors: pd.DataFrame, checkpoints: Sequence[str], min_nonzero: int, folder: Path) -> None:
    """Write `genes`: errors of every gene by how rarely it is expressed, given what `gene_figure` takes."""
    columns = ["checkpoint", "decoder", "gene_id", "n_nonzero", "zero_fraction", "rescaled_mae", "rescaled_null_mae"]
    save_figure(
        folder,
        "genes",
        gene_figure(errors, checkpoints, min_nonzero),
        title="Gene errors by sparsity",
        caption=(
            f"Each dot is a gene that at least {min_nonzero} validation cells express, at the last epoch. Rescaled "
            "MAE: mean absolute error on log1p(counts per 10,000) where the gene is expressed, with the prediction 0 "
            "where the model calls the gene absent, over the gene's mean there. The null predicts that mean. "
            "Genes that a checkpoint's input leaves out are shown where they were scored."
        ),
        data=errors.loc[errors["n_nonzero"] >= min_nonzero, [*columns, "detection_auc"]],
    )


def draw_qc(histograms: pd.DataFrame, qc: pd.DataFrame, folder: Path) -> None:
    """Write `qc`: distributions (rows of tables.QC_HISTOGRAMS) with the limits of quality control (tables.QC)."""
    save_figure(
        folder,
        "qc",
        qc_figure(histograms, qc),
        title="Counts, genes and mitochondrial fractions of each dataset, with the limits of quality control",
        caption=(
            "All cells of each dataset (of more than 30 datasets, those that lost the most cells). A cell that is "
            "within the limits may be removed for another reason: the table of the corpus counts all of them. Limits "
            "are the tightest of the rules: fixed ones, and medians plus or minus MADs of the dataset."
        ),
        data=histograms,
    )

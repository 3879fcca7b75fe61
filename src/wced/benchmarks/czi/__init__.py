"""CZI benchmark: the tasks of cz-benchmarks on one embedding, with its own classes, folds and settings."""

from pydantic import Field

from wced.benchmarks.task import Metric, Task


class Czi(Task):
    """The tasks of cz-benchmarks: label prediction, clustering, embedding and batch integration."""

    mem_mb = 6000

    datasets: list[str]
    """Datasets with a cell type."""
    folds: int = Field(5, ge=2)
    """Folds of the stratified cross-validation of label prediction (cz-benchmarks: 5)."""
    min_class_size: int = Field(10, ge=2)
    """Label prediction leaves classes with fewer cells out, and they are counted in the notes (cz-benchmarks: 10)."""
    seed: int = 42
    """Seed of folds, forest, clustering and neighbour search, whatever the seed of the run: with 42 the folds are those
    of the published tables of cz-benchmarks."""


SECTION = Czi
TITLE = "CZI benchmark"
METRICS = (
    Metric("macro_f1", "F1", "F1: mean over cell types, so that rare ones count as much.", headline=True),
    Metric("macro_f1_lr", "F1, logistic", headline=True),
    Metric("macro_f1_knn", "F1, neighbours"),
    Metric("macro_f1_rf", "F1, forest"),
    Metric("accuracy", "Accuracy", "The columns without a classifier's name are the mean of the three."),
    Metric("accuracy_lr", "Acc., logistic"),
    Metric("accuracy_knn", "Acc., neighbours"),
    Metric("accuracy_rf", "Acc., forest"),
    Metric("ari", "ARI", "ARI and NMI: agreement of clusters with cell types."),
    Metric("nmi", "NMI"),
    Metric("silhouette", "Silhouette", "Silhouette: how compact cell types are, scaled to 0–1."),
    Metric("avg_bio", "AvgBio", "AvgBio: mean of the three before it.", headline=True),
    Metric("batch_entropy", "Batch entropy", "Batch entropy: how mixed the batches of a cell's neighbours are, 0–1."),
    Metric("batch_silhouette", "Batch silh.", "Batch silhouette: 1 where batches mix within cell types."),
)

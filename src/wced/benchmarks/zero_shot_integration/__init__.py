"""Zero-shot batch integration: whether cells of a type lie together and batches mix, without any fine-tuning."""

from wced.benchmarks.task import OTHERS, Metric, Task


class Integration(Task):
    """Zero-shot batch integration, scored by scib-metrics."""

    needs = ("neighbours",)

    datasets: list[str]
    """Datasets with a `batch` and a cell type; of one batch, only how well cell types are kept apart is scored."""


SECTION = Integration
TITLE = "Zero-shot batch integration"
METRICS = (
    Metric("nmi", "NMI", "NMI and ARI: agreement of clusters with cell types."),
    Metric("ari", "ARI"),
    Metric("asw_label", "ASW label", "ASW label: how compact cell types are (silhouette, scaled to 0–1)."),
    Metric("avg_bio", "AvgBio", "AvgBio: mean of the three before it.", headline=True),
    Metric("graph_connectivity", "Graph conn.", "Graph connectivity: share of a type in one piece of the graph."),
    Metric("asw_batch", "ASW batch", "ASW batch: 1 where batches mix within cell types, 0 where they part."),
    Metric("avg_batch", "AvgBatch", "AvgBatch: mean of the two before it.", headline=True),
    Metric("overall", "Overall", "Overall: 0.6 AvgBio + 0.4 AvgBatch.", headline=True),
    Metric(
        "neighbour_purity",
        "Purity",
        f"Purity: share of a cell's {OTHERS} nearest other cells that have its type; macro: mean over cell types, so "
        "that rare ones count as much; across batches: of the nearest cells of other batches, over the cells whose "
        "type another batch has.",
        headline=True,
    ),
    Metric("neighbour_purity_macro", "Purity, macro"),
    Metric("neighbour_purity_across_batches", "Purity across batches"),
)

"""Zero-shot annotation: how often the ontology head names the cell type, or a kind or parent of it, and how far off."""

from pydantic import Field

from wced.benchmarks.task import LEAST_DEPTH, Metric, Task


class ZeroShotAnnotation(Task):
    """Zero-shot annotation by the ontology head of a checkpoint."""

    needs = ("annotation", "checkpoint")

    datasets: list[str]
    """Datasets whose cell types are Cell Ontology terms."""
    flow_labels: int = Field(15, ge=1)
    """Most frequent labels on either side of the figure of true and predicted labels (the paper's Figure 3A: 15)."""
    graph_label: dict[str, str] = {}
    """Per dataset the cell type (Cell Ontology id) whose cells' mean node probabilities are plotted; by default the
    most frequent one."""
    graph_min_probability: float = Field(0.035, gt=0, lt=1)
    """Nodes with a mean probability up to this one are left out of that figure (the paper's Figure 3B: 0.035)."""
    descent_min_share: float = Field(0.01, ge=0, lt=1)
    """Nodes that a smaller share of the cells passes are pooled into one in the figure of greedy decoding."""


SECTION = ZeroShotAnnotation
TITLE = "Zero-shot annotation by the ontology head"
METRICS = (
    Metric("accuracy_exact", "Exact", "Exact: the predicted term is the true one.", headline=True),
    Metric("accuracy_coarser", "Coarser", f"Coarser: an ancestor, {LEAST_DEPTH} or more below `cell`.", ranks=False),
    Metric("finer_unverified", "Finer", "Finer: a kind of it, which the truth does not tell.", ranks=False),
    Metric("wrong", "Wrong", "Wrong: none of these; the four add up to 1.", higher_is_better=False),
    Metric("accuracy_lineage_known", "Lineage known", "Lineage known: exact or coarser.", headline=True),
    Metric("accuracy_lineage", "Any relative", "Any relative: every finer or coarser term is right, even `cell`."),
    Metric("accuracy_exact_or_descendant", "Exact or finer"),
    Metric("accuracy_exact_or_ancestor", "Exact or any coarser"),
    Metric("macro_exact", "Exact, macro", "Macro: mean over cell types, so that rare ones count as much."),
    Metric("macro_exact_or_descendant", "Exact or finer, macro"),
    Metric("greedy_exact", "Exact, greedy", "Greedy: from the root always the most probable child."),
    Metric("greedy_exact_or_descendant", "Exact or finer, greedy"),
    Metric("greedy_lineage_known", "Lineage known, greedy"),
    Metric("greedy_lineage", "Any relative, greedy"),
    Metric(
        "lcad_errors",
        "LCAD, errors",
        "LCAD: is_a links from true to predicted term over their lowest common ancestor, mean of wrong or all cells.",
        higher_is_better=False,
    ),
    Metric("lcad", "LCAD", higher_is_better=False),
    Metric(
        "reachable_exact",
        "Reachable, exact",
        "Reachable: share of cells whose type (or a relative) the corpus held as a finest term, so could be right.",
        ranks=False,
    ),
    Metric("reachable_lineage_known", "Reachable, lineage known", ranks=False),
    Metric("reachable_lineage", "Reachable, any relative", ranks=False),
)

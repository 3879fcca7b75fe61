"""Config of the benchmark zero_shot_annotation."""

from typing import ClassVar

from pydantic import Field

from wced.config.benchmarks.base import Input, Task


class ZeroShotAnnotation(Task):
    """Zero-shot annotation by the ontology head of a checkpoint."""

    needs: ClassVar[tuple[Input, ...]] = ("annotation", "checkpoint")

    datasets: list[str]
    """Datasets whose cell types are Cell Ontology terms."""
    flow_labels: int = Field(15, ge=1)
    """Most frequent labels on either side of the figure of true and predicted labels (the paper's Figure 3A: 15)."""
    graph_label: dict[str, str] = {}
    """Per dataset the cell type (Cell Ontology id) whose cells' mean node probabilities are drawn; the most frequent
    one of a dataset that is not named."""
    graph_min_probability: float = Field(0.035, gt=0, lt=1)
    """Nodes with a mean probability up to this one are left out of that figure (the paper's Figure 3B: 0.035)."""
    descent_min_share: float = Field(0.01, ge=0, lt=1)
    """Nodes that a smaller share of the cells passes are drawn as one in the figure of greedy decoding."""

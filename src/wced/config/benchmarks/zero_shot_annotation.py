"""Config of the benchmark zero_shot_annotation."""

from wced.config.benchmarks.base import Task


class Annotation(Task):
    """Zero-shot annotation by the ontology head of a checkpoint."""

    datasets: list[str]
    """Datasets whose cell types are Cell Ontology terms."""

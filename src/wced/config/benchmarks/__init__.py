"""Config of the benchmarks: one file and one key each."""

from wced.config.base import Section
from wced.config.benchmarks.base import Task
from wced.config.benchmarks.cell_type_classification import Classification
from wced.config.benchmarks.zero_shot_annotation import Annotation
from wced.config.benchmarks.zero_shot_integration import Integration

__all__ = ["Annotation", "Benchmarks", "Classification", "Integration", "Task"]


class Benchmarks(Section):
    """The benchmarks; each section is the parameter of one rule."""

    zero_shot_integration: Integration
    """Batch integration without fine-tuning."""
    cell_type_classification: Classification
    """Probes on frozen embeddings."""
    zero_shot_annotation: Annotation
    """Labels by the ontology head, without fine-tuning."""

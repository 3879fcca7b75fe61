"""Config of everything that is done with trained models: embedding, benchmarks, learnability, report."""

from typing import Literal

from pydantic import Field

from wced.config.base import Section


class Embedding(Section):
    """Embeddings of cells that no model was pretrained on."""

    datasets: list[str]
    """Datasets of the table that are embedded; none may be part of the pretraining corpus."""
    concat: list[str] = []
    """Checkpoints whose embeddings are joined side by side as the model `concat`; empty for none."""
    untrained: str | None = None
    """Checkpoint whose encoder, freshly initialised and never trained, is the baseline `untrained`; null for none."""
    baselines: list[Literal["hvg", "pca"]] = ["hvg", "pca"]
    """Simple baselines: log-normalised highly variable genes, and their principal components."""
    n_top_genes: int = Field(2000, ge=10)
    """Highly variable genes of the baselines."""
    n_components: int = Field(50, ge=2)
    """Principal components of the baseline `pca`."""
    batch_size: int = Field(256, ge=1)
    """Cells embedded at once; it does not change the result."""


class Integration(Section):
    """Zero-shot batch integration, scored by scib-metrics."""

    datasets: list[str]
    """Datasets with a `batch` and a cell type."""
    neighbours: int = Field(15, ge=5)
    """Nearest neighbours of the graph that is clustered and whose connectivity is measured (scIB: 15)."""


class Classification(Section):
    """Cell-type classification by a probe on frozen embeddings (cz-benchmarks' label prediction task)."""

    datasets: list[str]
    """Datasets with a cell type."""
    folds: int = Field(5, ge=2)
    """Folds of the stratified cross-validation."""
    min_class_size: int = Field(10, ge=2)
    """Classes with fewer cells are left out, and their cells counted in the notes."""


class Annotation(Section):
    """Zero-shot annotation by the ontology head of a checkpoint."""

    datasets: list[str]
    """Datasets whose cell types are Cell Ontology terms."""


class Benchmarks(Section):
    """The benchmarks; each section is the parameter of one rule."""

    zero_shot_integration: Integration
    """Batch integration without fine-tuning."""
    cell_type_classification: Classification
    """Probes on frozen embeddings."""
    zero_shot_annotation: Annotation
    """Labels by the ontology head, without fine-tuning."""


class Learnability(Section):
    """Which genes a model learns to predict."""

    min_nonzero: int = Field(100, ge=1)
    """Non-zero validation values that a gene needs to be called reliable."""
    top: int = Field(20, ge=1)
    """Genes listed at either end of the first table."""


class Report(Section):
    """The page that shows a run."""

    title: str = "wced"
    """Heading of the page."""
    umap_neighbours: int = Field(15, ge=2)
    """Neighbours of the UMAP figures."""

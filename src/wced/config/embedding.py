"""Config of the embeddings of held-out datasets."""

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

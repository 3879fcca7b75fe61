"""Config of the model: its shape, and what its gene vectors start from."""

from typing import Any, Literal

from pydantic import Field, model_validator

from wced.config.base import Count, LocalPath, Natural, Probability, Section

SIZES = {
    "tiny": {"hidden_size": 128, "layers": 2, "heads": 4, "intermediate_size": 256, "decoder_width": 128},
    "small": {"hidden_size": 256, "layers": 6, "heads": 8, "intermediate_size": 1024, "decoder_width": 256},
    "paper": {"hidden_size": 384, "layers": 12, "heads": 12, "intermediate_size": 1536, "decoder_width": 384},
}
"""The numbers of each word of `model.size`."""


class GivenGenes(Section):
    """Gene vectors that were made elsewhere (gene2vec, ESM2, …) and replace learned ones."""

    path: LocalPath
    """Parquet, TSV or h5ad whose index has Ensembl ids. Genes without a row learn their vector."""
    sha256: str | None = None
    """SHA-256 of the file; any other is refused. null for no check."""
    trainable: bool = False
    """Whether training changes these vectors; the linear layer from their width to the model's is always trained."""


class Model(Section):
    """Shape of the encoder and of the input embeddings."""

    backbone: Literal["llama", "bert", "modernbert", "nystromformer", "performer"] = "llama"
    """Encoder: the paper's bidirectional LLaMA; BERT, ModernBERT or Nyströmformer of Transformers, without an order of
    genes; or a Performer, whose attention is linear in the length."""
    size: Literal["tiny", "small", "paper"] = "paper"
    """Default of the next five keys: tiny (2 layers of 128), small (6 of 256) or paper (12 of 384)."""
    hidden_size: int = Field(384, ge=8)
    """Width of embeddings and of the residual stream."""
    layers: Count = 12
    """Transformer blocks."""
    heads: Count = 12
    """Attention heads; must divide `hidden_size`."""
    intermediate_size: int = Field(1536, ge=8)
    """Width of the feed-forward layers."""
    decoder_width: int = Field(384, ge=8)
    """Width of the hidden layer of the expression decoders."""
    value_encoder: Literal["periodic", "mlp", "table"] = "periodic"
    """How an expression value becomes a vector: sines and cosines, a small MLP, or a vector per bin (`table`, with
    `input.values: bins`)."""
    value_frequencies: Count = 48
    """Number of frequencies of the periodic encoder."""
    trainable_frequencies: bool = True
    """Whether training changes these frequencies."""
    embedding_norm: bool = False
    """LayerNorm after the sum of gene and value embeddings (the reference code: true)."""
    gene_embeddings: GivenGenes | None = None
    """Gene vectors from elsewhere; null to learn all."""
    gene_components: Natural = 0
    """Principal components of the training cells whose whitened and randomly rotated loadings initialise the learned
    gene vectors, at most `hidden_size`; 0 for random vectors."""
    metadata: list[str] = []
    """Label columns of the shards whose class is added to the CLS tokens, such as assay_ontology_term_id."""
    metadata_dropout: Probability = 0.1
    """Probability that training hides a cell's metadata, so that the model also works without."""
    cls_positions: int = Field(1, ge=1, le=16)
    """CLS tokens before the genes. Expression is decoded from the first; `label_heads` choose theirs."""
    head_dropout: Probability = 0.1
    """Dropout before the label heads, the only dropout of the model."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_size(cls, values: Any) -> Any:
        return SIZES.get(values.get("size", "paper"), {}) | values if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check_widths(self) -> "Model":
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        if self.gene_components > self.hidden_size:
            raise ValueError(f"gene_components {self.gene_components} is above hidden_size {self.hidden_size}")
        if self.gene_components and self.gene_embeddings is not None:
            raise ValueError("gene_components and gene_embeddings both say what gene vectors start from")
        return self

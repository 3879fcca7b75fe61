"""Config of the model's shape and of what it starts from."""

from typing import Any, Literal

from pydantic import Field, model_validator

from wced.config.base import LocalPath, Section

SIZES = {
    "tiny": {"hidden_size": 128, "layers": 2, "heads": 4, "intermediate_size": 256, "decoder_width": 128},
    "small": {"hidden_size": 256, "layers": 6, "heads": 8, "intermediate_size": 1024, "decoder_width": 256},
    "paper": {"hidden_size": 384, "layers": 12, "heads": 12, "intermediate_size": 1536, "decoder_width": 384},
}
"""What the words of `model.size` stand for."""


class GivenGenes(Section):
    """Vectors of genes that were made elsewhere (gene2vec, ESM2, …) and take the place of learned ones."""

    path: LocalPath
    """Parquet, TSV or h5ad whose index holds Ensembl ids. Genes without a row learn their vector as usual."""
    sha256: str | None = None
    """Checksum of the file; a file with another one is refused. null does not check."""
    trainable: bool = False
    """Whether training changes the given vectors; the linear layer that brings them to the model's width always
    learns."""


class Model(Section):
    """Shape of the encoder and of the input embeddings."""

    backbone: Literal["llama", "bert", "modernbert", "nystromformer", "performer"] = "llama"
    """Encoder: the paper's bidirectional LLaMA; Transformers' BERT, ModernBERT or Nyströmformer, made indifferent to
    the order of genes; or a Performer, whose attention is linear in the length."""
    size: Literal["tiny", "small", "paper"] = "paper"
    """What the five numbers below are unless they are given: tiny (2 layers of 128), small (6 of 256), paper (12 of
    384)."""
    hidden_size: int = Field(384, ge=8)
    """Width of embeddings and of the residual stream (by default that of `size`, as the next four)."""
    layers: int = Field(12, ge=1)
    """Transformer blocks."""
    heads: int = Field(12, ge=1)
    """Attention heads; must divide `hidden_size`."""
    intermediate_size: int = Field(1536, ge=8)
    """Width of the feed-forward layers."""
    decoder_width: int = Field(384, ge=8)
    """Width of the hidden layer of the decoders that read expression from an embedding."""
    value_encoder: Literal["periodic", "mlp", "table"] = "periodic"
    """How an expression value becomes a vector: sines and cosines, a small MLP, or a vector per bin (`table`, which
    wants `input.values: bins`)."""
    value_frequencies: int = Field(48, ge=1)
    """Number of frequencies of the periodic encoder."""
    trainable_frequencies: bool = True
    """Whether training changes the frequencies of the periodic encoder."""
    embedding_norm: bool = False
    """LayerNorm after the sum of gene and value embeddings (the reference code: true)."""
    gene_embeddings: GivenGenes | None = None
    """Vectors of genes made elsewhere; null to learn all."""
    gene_components: int = Field(0, ge=0)
    """Principal components of the training cells that learned gene vectors start from (their whitened loadings, turned
    at random), at most `hidden_size`; 0 to draw them."""
    metadata: list[str] = []
    """Label columns of the shards whose class is added to the CLS tokens, such as assay_ontology_term_id."""
    metadata_dropout: float = Field(0.1, ge=0, lt=1)
    """Probability with which training hides a cell's metadata, so that the model also works without."""
    cls_positions: int = Field(1, ge=1, le=16)
    """CLS tokens before the genes. Expression is decoded from the first; `label_heads` say which one each reads."""
    head_dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout before the label heads, the only dropout of the model."""

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, given: Any) -> Any:
        return SIZES.get(given.get("size", "paper"), {}) | given if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _whole_heads(self) -> "Model":
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        if self.gene_components > self.hidden_size:
            raise ValueError(f"gene_components {self.gene_components} is above hidden_size {self.hidden_size}")
        if self.gene_components and self.gene_embeddings is not None:
            raise ValueError("gene_components and gene_embeddings both say what gene vectors start from")
        return self

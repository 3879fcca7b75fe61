"""What a checkpoint's config.json says about its model."""

from dataclasses import field
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from transformers import PretrainedConfig

FORMAT_VERSION = 5

READABLE = (4, FORMAT_VERSION)
"""Versions of a checkpoint's folder that are read; vocabularies of version 4 have symbols, but no other names."""


def _modules(package: str) -> tuple[str, ...]:
    return tuple(module.name for module in iter_modules([str(Path(__file__).parent / package)]))


BACKBONES = _modules("backbones")
VALUE_ENCODERS = _modules("value_encoders")
DECODERS = ("wced", "mlm")


class WcedConfig(PretrainedConfig):
    """Shape of the model and of its heads."""

    model_type = "wced"

    vocabulary_size: int = 0
    """Genes of the vocabulary, G."""
    vocabulary_sha256: str = ""
    """Hash of the ordered Ensembl ids; a vocabulary with another one is refused."""
    backbone: str = "llama"
    """Encoder: a module of `wced.model.backbones`."""
    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    value_encoder: str = "periodic"
    """How values become vectors: a module of `wced.model.value_encoders`."""
    value_frequencies: int = 48
    """Frequencies of the periodic encoder."""
    trainable_frequencies: bool = True
    embedding_norm: bool = False
    """LayerNorm after the sum of gene and value embeddings."""
    given_genes: int = 0
    """Number of genes whose vectors were made elsewhere."""
    given_width: int = 0
    given_trainable: bool = False
    """Whether training changes these vectors."""
    metadata: list[dict[str, Any]] = field(default_factory=list)
    """Cell-level labels added to the CLS tokens: {"column", "classes"} each."""
    gene_states: list[str] = field(default_factory=list)
    """States that a gene may be in, beside its value, such as `perturbed`."""
    cls_positions: int = 1
    """CLS tokens before the genes; expression is decoded from the first."""
    decoders: list[str] = field(default_factory=lambda: ["wced"])
    """`wced` (the CLS embedding decodes every gene), `mlm` (hidden positions decode their own gene), both or none."""
    hidden_genes: bool = False
    """Whether `mlm` also decodes which gene is at a position."""
    decoder_width: int = 384
    """Hidden width of the expression decoders."""
    decoder_depth: dict[str, float] | None = None
    """{"mean", "std"} of the log number of expressed genes over the training cells, where the decoders are told that
    of the cell."""
    head_dropout: float = 0.1
    """Dropout inside the label heads."""
    contrast: dict[str, int] | None = None
    """{"width", "cls_position"} of the projection that a contrast of two views reads."""
    label_heads: list[dict[str, Any]] = field(default_factory=list)
    """One per label: {"column", "loss", "classes", "cls_position"}; `classes` is the number of outputs, `cls_position`
    (0 if left out) the one that the head reads. Heads of numbers also have "mean" and "std"."""
    input: dict[str, Any] = field(default_factory=dict)
    """How cells were turned into sequences: the encoding's fields, so that inference repeats it."""
    readout: list[str] = field(default_factory=lambda: ["cls"])
    """Words of `wced.embedding.pooling.Pooling` that an embedding is made of by default."""
    losses: dict[str, str] | None = None
    """Where each loss that taught the encoder read, by its name: `cls`, `cls:1`, … or `mean` (all gene positions).
    None where that is not known, and then no readout counts as untrained."""
    extended: list[dict[str, Any]] = field(default_factory=list)
    """{"step", "epochs", "precision"} of each time that a longer training went on from a shorter one: at which step,
    and the epochs and precision of the shorter one."""
    format_version: int = FORMAT_VERSION
    """Version of the checkpoint folder."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Check what no other part of the model would refuse in a sentence."""
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        words = [(self.backbone, BACKBONES), (self.value_encoder, VALUE_ENCODERS)]
        for word, known in (*words, *((decoder, DECODERS) for decoder in self.decoders)):
            if word not in known:
                raise ValueError(f"{word!r} is none of {', '.join(known)}")
        super().__post_init__(**kwargs)

"""What a checkpoint's config.json says about its model."""

from typing import Any

from transformers import PretrainedConfig

FORMAT_VERSION = 2


class WcedConfig(PretrainedConfig):
    """Shape of the model and of its heads.

    Parameters
    ----------
    vocabulary_size
        Genes of the vocabulary, G.
    vocabulary_sha256
        Hash of the ordered Ensembl ids; a vocabulary with another one is refused.
    hidden_size, num_hidden_layers, num_attention_heads, intermediate_size
        Shape of the encoder.
    value_encoder, value_frequencies
        How values become vectors (`periodic` or `mlp`), and the number of frequencies.
    cls_positions
        CLS tokens before the genes; expression is decoded from the first.
    decoder_width
        Hidden width of the expression decoder.
    head_dropout
        Dropout inside the label heads.
    objective
        `wced` (the CLS embedding decodes every gene) or `mlm` (each position decodes its own gene).
    label_heads
        One per label: {"column", "loss", "classes", "cls_position"}; `classes` is the number of outputs, and
        `cls_position` (0 if it is left out) the one that the head reads.
    input
        How cells were turned into sequences: the encoding's fields, so that inference repeats it.
    format_version
        Version of the checkpoint folder.
    """

    model_type = "wced"

    def __init__(
        self,
        vocabulary_size: int = 0,
        vocabulary_sha256: str = "",
        hidden_size: int = 384,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 1536,
        value_encoder: str = "periodic",
        value_frequencies: int = 48,
        cls_positions: int = 1,
        decoder_width: int = 384,
        head_dropout: float = 0.1,
        objective: str = "wced",
        label_heads: list[dict[str, Any]] | None = None,
        input: dict[str, Any] | None = None,
        format_version: int = FORMAT_VERSION,
        **kwargs: Any,
    ) -> None:
        if hidden_size % num_attention_heads:
            raise ValueError(
                f"hidden_size {hidden_size} is not a multiple of num_attention_heads {num_attention_heads}"
            )
        self.vocabulary_size = vocabulary_size
        self.vocabulary_sha256 = vocabulary_sha256
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.value_encoder = value_encoder
        self.value_frequencies = value_frequencies
        self.cls_positions = cls_positions
        self.decoder_width = decoder_width
        self.head_dropout = head_dropout
        self.objective = objective
        self.label_heads = label_heads or []
        self.input = input or {}
        self.format_version = format_version
        super().__init__(**kwargs)

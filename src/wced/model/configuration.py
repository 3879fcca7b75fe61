"""What a checkpoint's config.json says about its model."""

from typing import Any

from transformers import PretrainedConfig

FORMAT_VERSION = 5

READABLE = (4, FORMAT_VERSION)
"""Versions of a checkpoint's folder that are read; vocabularies of version 4 know symbols alone, no other names."""

BACKBONES = ("llama", "bert", "modernbert", "nystromformer", "performer")
VALUE_ENCODERS = ("periodic", "mlp", "table")
DECODERS = ("wced", "mlm")


class WcedConfig(PretrainedConfig):
    """Shape of the model and of its heads.

    Parameters
    ----------
    vocabulary_size
        Genes of the vocabulary, G.
    vocabulary_sha256
        Hash of the ordered Ensembl ids; a vocabulary with another one is refused.
    backbone
        Encoder: `llama`, `bert`, `modernbert`, `nystromformer` or `performer`.
    hidden_size, num_hidden_layers, num_attention_heads, intermediate_size
        Shape of the encoder.
    value_encoder, value_frequencies, trainable_frequencies
        How values become vectors (`periodic`, `mlp`, or `table`: one vector per bin), the number of frequencies, and
        whether training changes them.
    embedding_norm
        LayerNorm after the sum of gene and value embeddings.
    given_genes, given_width, given_trainable
        Number and width of gene vectors that were made elsewhere, and whether training changes them; 0 for none.
    metadata
        Cell-level labels added to the CLS tokens: {"column", "classes"} each.
    gene_states
        Names of states that a gene may be in, beside its value, such as `perturbed`.
    cls_positions
        CLS tokens before the genes; expression is decoded from the first.
    decoders
        `wced` (the CLS embedding decodes every gene), `mlm` (each hidden position decodes its own gene), both or none.
    hidden_genes
        Whether `mlm` also decodes which gene stands at a position.
    decoder_width
        Hidden width of the expression decoders.
    decoder_depth
        {"mean", "std"} of the log number of expressed genes over the training cells, where the decoders are told that
        of the cell; None where they are not.
    head_dropout
        Dropout inside the label heads.
    contrast
        {"width", "cls_position"} of the projection that a contrast of two views reads; None without.
    label_heads
        One per label: {"column", "loss", "classes", "cls_position"}; `classes` is the number of outputs, and
        `cls_position` (0 if it is left out) the one that the head reads. Heads of numbers also have "mean" and "std".
    input
        How cells were turned into sequences: the encoding's fields, so that inference repeats it.
    readout
        Words of `wced.embedding.pooling.Pooling` that an embedding is made of if nothing else is asked for.
    losses
        Where each loss that taught the encoder read, by its name: `cls`, `cls:1`, … or `mean` (all gene positions).
        None where that is not known, and then no readout counts as untrained.
    extended
        {"step", "epochs", "precision"} of each time that a longer training went on from a shorter one: where, and what
        the shorter one was asked for.
    format_version
        Version of the checkpoint folder.
    """

    model_type = "wced"

    def __init__(
        self,
        vocabulary_size: int = 0,
        vocabulary_sha256: str = "",
        backbone: str = "llama",
        hidden_size: int = 384,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 1536,
        value_encoder: str = "periodic",
        value_frequencies: int = 48,
        trainable_frequencies: bool = True,
        embedding_norm: bool = False,
        given_genes: int = 0,
        given_width: int = 0,
        given_trainable: bool = False,
        metadata: list[dict[str, Any]] | None = None,
        gene_states: list[str] | None = None,
        cls_positions: int = 1,
        decoders: list[str] | None = None,
        hidden_genes: bool = False,
        decoder_width: int = 384,
        decoder_depth: dict[str, float] | None = None,
        head_dropout: float = 0.1,
        contrast: dict[str, int] | None = None,
        label_heads: list[dict[str, Any]] | None = None,
        input: dict[str, Any] | None = None,
        readout: list[str] | None = None,
        losses: dict[str, str] | None = None,
        extended: list[dict[str, Any]] | None = None,
        format_version: int = FORMAT_VERSION,
        **kwargs: Any,
    ) -> None:
        if hidden_size % num_attention_heads:
            raise ValueError(
                f"hidden_size {hidden_size} is not a multiple of num_attention_heads {num_attention_heads}"
            )
        decoders = ["wced"] if decoders is None else decoders
        for word, known in ((backbone, BACKBONES), (value_encoder, VALUE_ENCODERS), *((d, DECODERS) for d in decoders)):
            if word not in known:
                raise ValueError(f"{word!r} is none of {', '.join(known)}")
        self.vocabulary_size = vocabulary_size
        self.vocabulary_sha256 = vocabulary_sha256
        self.backbone = backbone
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.value_encoder = value_encoder
        self.value_frequencies = value_frequencies
        self.trainable_frequencies = trainable_frequencies
        self.embedding_norm = embedding_norm
        self.given_genes = given_genes
        self.given_width = given_width
        self.given_trainable = given_trainable
        self.metadata = metadata or []
        self.gene_states = gene_states or []
        self.cls_positions = cls_positions
        self.decoders = decoders
        self.hidden_genes = hidden_genes
        self.decoder_width = decoder_width
        self.decoder_depth = decoder_depth
        self.head_dropout = head_dropout
        self.contrast = contrast
        self.label_heads = label_heads or []
        self.input = input or {}
        self.readout = readout or ["cls"]
        self.losses = losses
        self.extended = extended or []
        self.format_version = format_version
        super().__init__(**kwargs)

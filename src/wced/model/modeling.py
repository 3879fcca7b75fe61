"""The whole model, as a Hugging Face model that `from_pretrained` and `save_pretrained` know."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from wced.model import backbones
from wced.model.backbones.llama import Stack
from wced.model.configuration import WcedConfig
from wced.model.embedding import CellEmbedding
from wced.model.value_encoders import ValueEncoder

VALUE_STD = 0.014
"""Initial standard deviation of the entries of a value's vector. All genes of a cell have similar values, and what
their vectors share would dominate the average that attention begins as; docs/method.md has the measurement."""

INPUT_STD = 0.2
"""Initial standard deviation of gene embeddings and input tokens. No norm precedes the first attention, so with LLaMA's
0.02 it would see next to nothing; docs/method.md has the measurement."""


@dataclass(frozen=True)
class WcedOutput:
    """Output for n cells, m hidden values, h hidden genes and C classes; None where nothing decodes it."""

    cls_nkd: Tensor
    """(n, k, d): final hidden states of the k CLS positions."""
    detection_logits: Tensor | None = None
    """(n, G): WCED's logit of every gene being expressed."""
    values: Tensor | None = None
    """(n, G): its log1p_10k of every gene."""
    position_logits: Tensor | None = None
    """(m,): MLM's logit of the gene being expressed, at the positions with hidden values in row-major order."""
    position_values: Tensor | None = None
    """(m,): its log1p_10k there."""
    gene_logits: Tensor | None = None
    """(h, G): MLM's logits of every gene at the positions whose gene is hidden, in row-major order."""
    label_logits: dict[str, Tensor] = field(default_factory=dict)
    """(n, C) by label column; for the hierarchical head C is the number of leaves, for a number 1."""

    @property
    def cls_embedding(self) -> Tensor:
        """(n, d): the first CLS position, from which expression is decoded."""
        return self.cls_nkd[:, 0]


def _perceptron(width: int, inner: int, outputs: int, *between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, inner), nn.GELU(), *between, nn.Linear(inner, outputs))


class WholeCellDecoder(nn.Module):
    """Decode the detection logit and value of every gene from the CLS embedding, once per cell (paper, 12.5.2).

    With `depth`, it is told the cell's depth, for which each gene has slopes of its own; scVI (Lopez et al. 2018) tells
    its decoder the library size for the same reason.
    """

    def __init__(self, width: int, inner: int, vocabulary_size: int, *, depth: bool) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, inner), nn.GELU())
        self.detection = nn.Linear(inner, vocabulary_size)
        self.value = nn.Linear(inner, vocabulary_size)
        self.depth = nn.Parameter(torch.zeros(2, vocabulary_size)) if depth else None

    def forward(self, cls_nd: Tensor, depth_n: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return detection logits (of being expressed) and values in log1p_10k, each (n, G).

        `depth_n` is the log number of expressed genes in standard deviations from the mean; None is the mean.
        """
        hidden = self.hidden(cls_nd)
        logit_ng, value_ng = self.detection(hidden), self.value(hidden)
        if self.depth is None or depth_n is None:
            return logit_ng, value_ng
        slope_detection_g, slope_value_g = self.depth.to(logit_ng.dtype)
        depth_n1 = depth_n.to(logit_ng.dtype).unsqueeze(1)
        return torch.addcmul(logit_ng, depth_n1, slope_detection_g), torch.addcmul(value_ng, depth_n1, slope_value_g)


class PositionDecoder(nn.Module):
    """Decode the detection logit and value of the gene at each of some positions (paper, 12.5.1).

    With `depth`, it is told the cell's depth, and each gene has intercepts and slopes of its own, as in the whole-cell
    decoder: the encoder then need not learn what all cells share of a gene, nor what follows from the depth.
    """

    def __init__(self, width: int, inner: int, vocabulary_size: int, *, depth: bool) -> None:
        super().__init__()
        self.layers = _perceptron(width, inner, 2)
        self.intercept = nn.Parameter(torch.zeros(2, vocabulary_size)) if depth else None
        self.depth = nn.Parameter(torch.zeros(2, vocabulary_size)) if depth else None

    def forward(
        self, hidden_md: Tensor, gene_m: Tensor | None = None, depth_m: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return detection logits and values, each (m,).

        A decoder that is told the depth needs the genes of the positions; without `depth_m` cells are of mean depth.
        """
        decoded_m2 = self.layers(hidden_md)
        if self.intercept is not None:
            if gene_m is None:
                raise ValueError("this decoder has an intercept for each gene: give gene, not inputs_embeds")
            decoded_m2 = decoded_m2 + self.intercept[:, gene_m].T
            if depth_m is not None:
                decoded_m2 = decoded_m2 + depth_m[:, None] * self.depth[:, gene_m].T
        return decoded_m2.unbind(dim=-1)


class _ReversedGradient(Function):
    """The identity, whose gradient comes back multiplied by −coefficient (Ganin & Lempitsky 2015; paper, 12.5.4)."""

    @staticmethod
    def forward(ctx, x: Tensor, coefficient: float) -> Tensor:
        ctx.coefficient = coefficient
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.coefficient * gradient, None


class WcedModel(PreTrainedModel):
    """Encoder, decoders of expression, and label heads."""

    config_class = WcedConfig
    base_model_prefix = "wced"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: WcedConfig) -> None:
        super().__init__(config)
        width, inner, genes = config.hidden_size, config.decoder_width, config.vocabulary_size
        depth = config.decoder_depth is not None
        self.embedding = CellEmbedding(config)
        self.backbone = backbones.build(config)
        self.decoders = nn.ModuleDict()
        if "wced" in config.decoders:
            self.decoders["wced"] = WholeCellDecoder(width, inner, genes, depth=depth)
        if "mlm" in config.decoders:
            self.decoders["mlm"] = PositionDecoder(width, inner, genes, depth=depth)
            if config.hidden_genes:
                self.decoders["genes"] = _perceptron(width, inner, genes)
        # A list, because column names with dots cannot be keys of a ModuleDict. The only dropout (paper, 4.3).
        self.label_heads = nn.ModuleList(
            _perceptron(width, width, head["classes"], nn.Dropout(config.head_dropout)) for head in config.label_heads
        )
        # A contrast of two views compares projections; the embedding itself keeps more (Chen et al. 2020).
        self.projection = _perceptron(width, width, config.contrast["width"]) if config.contrast else None
        self.post_init()
        for part in self.backbone.children():
            if isinstance(part, PreTrainedModel) and not self._approximates:
                part.set_attn_implementation(config._attn_implementation)

    @property
    def _approximates(self) -> bool:
        return getattr(backbones.class_of(self.config.backbone), "approximates", False)

    def _sdpa_can_dispatch(self, is_init_check: bool = False) -> bool:
        """Tell Transformers whether torch's scaled dot product attention is what this encoder computes."""
        if self._approximates:
            raise ValueError(
                f"attn_implementation: backbone {self.config.backbone} approximates attention in one way of its own; "
                "leave the key out"
            )
        return True

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table of gene vectors; raise NotImplementedError where some were made elsewhere."""
        if self.embedding.given_genes:
            raise NotImplementedError(
                "the vectors of some genes of this model come from a file, so no table has them all; "
                "model.embedding.genes returns the vectors of genes by id"
            )
        return self.embedding.gene

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the table of gene vectors by one of the same shape; ValueError for another."""
        shape = self.get_input_embeddings().weight.shape
        if value.weight.shape != shape:
            raise ValueError(
                f"input embeddings: {tuple(value.weight.shape)} in place of {tuple(shape)}; the vocabulary of genes is "
                "fixed, because decoders have an output for each of them"
            )
        self.embedding.gene = value

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise weights with a standard deviation of 0.02, as LLaMA does, and biases with 0.

        Exceptions are the inputs (`INPUT_STD`, `VALUE_STD`) and the first attention of our own encoders.
        """
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=INPUT_STD)
        elif isinstance(module, Stack):
            module.blocks[0].attention.initialise_average()
        elif isinstance(module, ValueEncoder):
            module.initialise(VALUE_STD)
        elif isinstance(module, CellEmbedding):
            module.initialise_tokens(INPUT_STD)

    def encode(
        self, gene: Tensor | None = None, value: Tensor | None = None, length: Tensor | None = None,
        masked: Tensor | None = None, *, gene_masked: Tensor | None = None, gene_state: Tensor | None = None,
        metadata: Tensor | None = None, inputs_embeds: Tensor | None = None, full: bool | None = None, cls_only: bool,
    ) -> Tensor:  # fmt: skip
        """Return hidden states, the k CLS positions first: (n, k, d) with `cls_only`, else (n, k + l, d).

        Parameters
        ----------
        gene, value, masked, gene_masked, gene_state
            (n, l): vocabulary ids, encoded values, which values and genes are hidden, and states of genes (0: none).
        length
            (n,): number of genes, the positions behind them being padding (None: no padding).
        metadata
            (n, M): codes of the cell-level labels of `config.metadata`, −1 for unknown.
        inputs_embeds
            (n, k + l, d): input vectors as `model.embedding` makes them, in place of genes, values and metadata.
        full
            Whether there is no padding. None looks, for which a GPU must be waited for.
        cls_only
            Whether the last block may leave out all positions but CLS.
        """
        if (gene is None) == (inputs_embeds is None):
            raise ValueError("give either gene and value, or inputs_embeds: the vectors that model.embedding makes")
        if inputs_embeds is None:
            inputs_embeds = self.embedding(
                gene, value, masked, gene_masked_nl=gene_masked, gene_state_nl=gene_state, metadata_nm=metadata
            )
        k, positions = self.config.cls_positions, inputs_embeds.shape[1]
        if full is None:
            full = length is None or bool((length == positions - k).all())
        present = None if full else torch.arange(positions, device=inputs_embeds.device) < k + length[:, None]
        eager = self.config._attn_implementation == "eager" and not self._approximates
        with sdpa_kernel(SDPBackend.MATH) if eager else nullcontext():
            return self.backbone(inputs_embeds, present, k if cls_only else None)

    def forward(
        self, gene: Tensor | None = None, value: Tensor | None = None, length: Tensor | None = None,
        masked: Tensor | None = None, *, gene_masked: Tensor | None = None, masked_at: Tensor | None = None,
        gene_masked_at: Tensor | None = None, expressed: Tensor | None = None,
        reversal: Mapping[str, float] | None = None, decode: bool = True, **inputs: Tensor | bool | None,
    ) -> WcedOutput:  # fmt: skip
        """Embed cells, and with `decode` decode expression and labels; `encode` describes the other parameters.

        `masked_at` and `gene_masked_at` are the flat indices (row · l + position) of hidden values and genes; to find
        them (None), a GPU must be waited for. `expressed` (n,) is the number of genes that each whole cell expresses,
        for a decoder that is told it (None: the geometric mean of the training cells). `reversal` has, by label column,
        what its head's gradient is multiplied by, with the sign reversed, before it reaches the encoder.
        """
        positions = decode and "mlm" in self.config.decoders and (masked is not None or gene_masked is not None)
        hidden = self.encode(gene, value, length, masked, gene_masked=gene_masked, cls_only=not positions, **inputs)
        k = self.config.cls_positions
        cls_nkd = hidden[:, :k]
        if not decode:
            return WcedOutput(cls_nkd)
        depth_n, scale = None, self.config.decoder_depth
        if expressed is not None and scale is not None:
            depth_n = (expressed.clamp(min=1).float().log() - scale["mean"]) / scale["std"]
        decoded: dict[str, Tensor] = {}
        if "wced" in self.decoders:
            decoded["detection_logits"], decoded["values"] = self.decoders["wced"](cls_nkd[:, 0], depth_n)
        if positions:
            rest = hidden[:, k:].flatten(0, 1)
            if masked is not None:
                at = masked.flatten().nonzero()[:, 0] if masked_at is None else masked_at
                gene_m = None if gene is None else gene.flatten()[at].long()
                depth_m = None if depth_n is None else depth_n[at // masked.shape[1]]
                decoded["position_logits"], decoded["position_values"] = self.decoders["mlm"](rest[at], gene_m, depth_m)
            if gene_masked is not None and "genes" in self.decoders:
                at = gene_masked.flatten().nonzero()[:, 0] if gene_masked_at is None else gene_masked_at
                decoded["gene_logits"] = self.decoders["genes"](rest[at])
        return WcedOutput(cls_nkd, **decoded, label_logits=self.label_logits(cls_nkd, reversal))

    def label_logits(self, cls_nkd: Tensor, reversal: Mapping[str, float] | None = None) -> dict[str, Tensor]:
        """Return the logits of every label head, by column, each read from its own CLS position; cells × k × d."""
        logits = {}
        for spec, head in zip(self.config.label_heads, self.label_heads, strict=True):
            cls_nd, column = cls_nkd[:, spec.get("cls_position", 0)], spec["column"]
            if column in (reversal or {}):
                cls_nd = _ReversedGradient.apply(cls_nd, reversal[column])
            logits[column] = head(cls_nd)
        return logits

    def projected(self, cls_nkd: Tensor) -> Tensor:
        """Return the projections of cells × k × d that a contrast compares."""
        return self.projection(cls_nkd[:, self.config.contrast["cls_position"]])

    @property
    def encoder_parameters(self) -> int:
        """Number of parameters that make the embedding: everything but decoders and heads."""
        return sum(p.numel() for part in (self.embedding, self.backbone) for p in part.parameters())

    def parameters_by_part(self) -> dict[str, int]:
        """Return the number of parameters of each part; together they are all of the model's, without fixed buffers.

        The `value encoder` includes the tokens of a zero and of a hidden value, `metadata` the CLS tokens, the `heads`
        the projection of a contrast, and the `gene embedding` the rest of the input embedding.
        """
        parts = dict.fromkeys(("gene embedding", "value encoder", "metadata", "backbone", "decoders", "heads"), 0)
        part_of = {
            "embedding": "gene embedding", "embedding.value": "value encoder", "embedding.zero": "value encoder",
            "embedding.mask": "value encoder", "embedding.cls": "metadata", "embedding.metadata": "metadata",
            "backbone": "backbone", "decoders": "decoders", "label_heads": "heads", "projection": "heads",
        }  # fmt: skip
        for name, parameter in self.named_parameters():
            module, inner = name.split(".")[:2]
            parts[part_of.get(f"{module}.{inner}", part_of[module])] += parameter.numel()
        return parts

"""The whole model, as a Hugging Face model that `from_pretrained` and `save_pretrained` know."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from wced.model import backbones
from wced.model.backbones.llama import Stack
from wced.model.configuration import WcedConfig
from wced.model.embedding import CellEmbedding
from wced.model.heads import GeneDecoder, LabelHead, PositionDecoder, Projection, WholeCellDecoder, reversed_gradient
from wced.model.value_encoders import ValueEncoder

APPROXIMATE = ("nystromformer", "performer")
"""Backbones whose attention is an approximation of their own, which no choice of Transformers can change."""

VALUE_STD = 0.014
"""Standard deviation of the entries of a value's vector at the start. All genes of a cell have similar values, and what
their vectors share would drown the genes' own in the average that attention begins as; docs/method.md has the
measurement."""

INPUT_STD = 0.2
"""Standard deviation of gene embeddings and input tokens at the start. No norm stands before the first attention, so
LLaMA's 0.02 would let it see next to nothing; docs/method.md has the measurement."""


@dataclass(frozen=True)
class WcedOutput:
    """What a forward pass gives: n cells, m hidden values, h hidden genes, C classes. None where nothing decodes it."""

    cls_nkd: torch.Tensor
    """(n, k, d): what stands at the k CLS positions at last."""
    detection_logits: torch.Tensor | None = None
    """(n, G): WCED's logit of every gene being expressed."""
    values: torch.Tensor | None = None
    """(n, G): its log1p_10k of every gene."""
    position_logits: torch.Tensor | None = None
    """(m,): MLM's logit of the gene being expressed, at the positions with hidden values in row-major order."""
    position_values: torch.Tensor | None = None
    """(m,): its log1p_10k there."""
    gene_logits: torch.Tensor | None = None
    """(h, G): MLM's logits of every gene standing at a position whose gene is hidden, in row-major order."""
    label_logits: dict[str, torch.Tensor] = field(default_factory=dict)
    """(n, C) by label column; for the hierarchical head C is the number of leaves, for a number 1."""

    @property
    def cls_embedding(self) -> torch.Tensor:
        """(n, d): the cell's embedding, from which expression is decoded: that of the first CLS position."""
        return self.cls_nkd[:, 0]


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
                self.decoders["genes"] = GeneDecoder(width, inner, genes)
        # Column names of obs are no module names when they hold dots; a ModuleDict would refuse those.
        self.label_heads = nn.ModuleList(
            LabelHead(width, head["classes"], config.head_dropout) for head in config.label_heads
        )
        self.projection = Projection(width, config.contrast["width"]) if config.contrast else None
        self.post_init()
        for part in self.backbone.children():
            if isinstance(part, PreTrainedModel) and config.backbone not in APPROXIMATE:
                part.set_attn_implementation(config._attn_implementation)

    def _sdpa_can_dispatch(self, is_init_check: bool = False) -> bool:
        """Tell Transformers whether torch's scaled dot product attention is what this encoder computes."""
        if self.config.backbone in APPROXIMATE:
            raise ValueError(
                f"attn_implementation: backbone {self.config.backbone} approximates attention in one way of its own; "
                "leave the key out"
            )
        return True

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table of gene vectors; NotImplementedError where some were given, and are in no table."""
        if self.embedding.given_genes:
            raise NotImplementedError(
                "this model makes the vectors of some genes from given ones, so no table has them all; "
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
        """Draw weights with a standard deviation of 0.02, as LLaMA does; biases are 0.

        Exceptions are the inputs (`INPUT_STD`, `VALUE_STD`) and the first attention of our own encoders.
        """
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=INPUT_STD)
        elif isinstance(module, Stack):
            module.blocks[0].attention.draw_average()
        elif isinstance(module, ValueEncoder):
            module.draw(VALUE_STD)
        elif isinstance(module, CellEmbedding):
            module.draw_tokens(INPUT_STD)

    def encode(
        self,
        gene: torch.Tensor | None = None,
        value: torch.Tensor | None = None,
        length: torch.Tensor | None = None,
        masked: torch.Tensor | None = None,
        *,
        gene_masked: torch.Tensor | None = None,
        gene_state: torch.Tensor | None = None,
        metadata: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        full: bool | None = None,
        cls_only: bool,
    ) -> torch.Tensor:
        """Return hidden states, the k CLS positions first: (n, k, d) with `cls_only`, else (n, k + l, d).

        Parameters
        ----------
        gene, value, masked
            (n, l): vocabulary ids, encoded values, and which values are hidden (None: none).
        length
            (n,): positions of genes that are there (None: all).
        gene_masked, gene_state
            (n, l): which genes are hidden, and in which state each is (0: in none).
        metadata
            (n, M): codes of the cell-level labels of `config.metadata`, −1 for unknown (None: all unknown).
        inputs_embeds
            (n, k + l, d): input vectors as `model.embedding` makes them, in place of genes, values and metadata.
        full
            Whether every position of every cell is there. None looks, for which a GPU must be waited for.
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
        eager = self.config._attn_implementation == "eager" and self.config.backbone not in APPROXIMATE
        with sdpa_kernel(SDPBackend.MATH) if eager else nullcontext():
            return self.backbone(inputs_embeds, present, k if cls_only else None)

    def forward(
        self,
        gene: torch.Tensor | None = None,
        value: torch.Tensor | None = None,
        length: torch.Tensor | None = None,
        masked: torch.Tensor | None = None,
        *,
        gene_masked: torch.Tensor | None = None,
        gene_state: torch.Tensor | None = None,
        metadata: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        full: bool | None = None,
        masked_at: torch.Tensor | None = None,
        gene_masked_at: torch.Tensor | None = None,
        expressed: torch.Tensor | None = None,
        reversal: Mapping[str, float] | None = None,
        decode: bool = True,
    ) -> WcedOutput:
        """Embed cells, and decode expression and labels when `decode`.

        Parameters
        ----------
        gene, value, length, masked, gene_masked, gene_state, metadata, inputs_embeds, full
            See `encode`.
        masked_at, gene_masked_at
            Int64: the flat places (row · l + position) where values and genes are hidden. None looks for them, for
            which a GPU must be waited for.
        expressed
            (n,): number of genes that each whole cell expresses, for a decoder that is told it (None: as many as the
            training cells in the geometric mean).
        reversal
            By label column: what its head's gradient is multiplied by, turned around, on its way to the encoder.
        decode
            Whether anything but the CLS positions is asked for.
        """
        positions = decode and "mlm" in self.config.decoders and (masked is not None or gene_masked is not None)
        hidden = self.encode(
            gene, value, length, masked, gene_masked=gene_masked, gene_state=gene_state, metadata=metadata,
            inputs_embeds=inputs_embeds, full=full, cls_only=not positions,
        )  # fmt: skip
        k = self.config.cls_positions
        cls_nkd = hidden[:, :k]
        if not decode:
            return WcedOutput(cls_nkd)
        found: dict[str, torch.Tensor] = {}
        depth_n = self._depth(expressed)
        if "wced" in self.decoders:
            found["detection_logits"], found["values"] = self.decoders["wced"](cls_nkd[:, 0], depth_n)
        if positions:
            rest = hidden[:, k:].flatten(0, 1)
            if masked is not None:
                at = masked.flatten().nonzero()[:, 0] if masked_at is None else masked_at
                gene_m = None if gene is None else gene.flatten()[at].long()
                depth_m = None if depth_n is None else depth_n[at // masked.shape[1]]
                found["position_logits"], found["position_values"] = self.decoders["mlm"](rest[at], gene_m, depth_m)
            if gene_masked is not None and "genes" in self.decoders:
                at = gene_masked.flatten().nonzero()[:, 0] if gene_masked_at is None else gene_masked_at
                found["gene_logits"] = self.decoders["genes"](rest[at])
        return WcedOutput(cls_nkd, **found, label_logits=self.label_logits(cls_nkd, reversal))

    def _depth(self, expressed: torch.Tensor | None) -> torch.Tensor | None:
        """Return the log number of expressed genes, standardised by the training cells; (n,)."""
        scale = self.config.decoder_depth
        if expressed is None or scale is None:
            return None
        return (expressed.clamp(min=1).float().log() - scale["mean"]) / scale["std"]

    def label_logits(
        self, cls_nkd: torch.Tensor, reversal: Mapping[str, float] | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the logits of every label head, by column, each read from its own CLS position; cells × k × d."""
        reversal, found = reversal or {}, {}
        for spec, head in zip(self.config.label_heads, self.label_heads, strict=True):
            cls_nd, column = cls_nkd[:, spec.get("cls_position", 0)], spec["column"]
            found[column] = head(reversed_gradient(cls_nd, reversal[column]) if column in reversal else cls_nd)
        return found

    def projected(self, cls_nkd: torch.Tensor) -> torch.Tensor:
        """Return what a contrast compares, cells × its width, of cells × k × d."""
        return self.projection(cls_nkd[:, self.config.contrast["cls_position"]])

    @property
    def encoder_parameters(self) -> int:
        """Number of parameters that make the embedding: everything but decoders and heads."""
        return sum(p.numel() for part in (self.embedding, self.backbone) for p in part.parameters())

"""The whole model, as a Hugging Face model that `from_pretrained` and `save_pretrained` know."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from wced.model.backbone import Llama
from wced.model.configuration import WcedConfig
from wced.model.embedding import CellEmbedding
from wced.model.heads import LabelHead, PositionDecoder, WholeCellDecoder

INPUT_STD = 0.2
"""Standard deviation of gene embeddings and input tokens at the start. No norm stands before the first attention, so
LLaMA's 0.02 would let it see next to nothing; docs/method.md has the measurement."""


@dataclass(frozen=True)
class WcedOutput:
    """What a forward pass gives: n cells, m predictions, C classes."""

    cls_nkd: torch.Tensor
    """(n, k, d): what stands at the k CLS positions at last."""
    detection_logits: torch.Tensor | None
    """WCED: (n, G) for every gene; MLM: (m,) for the masked positions in row-major order; None when not asked for."""
    values: torch.Tensor | None
    """Predicted log1p_10k, of the same shape."""
    label_logits: dict[str, torch.Tensor]
    """(n, C) by label column; for the hierarchical head C is the number of leaves."""

    @property
    def cls_embedding(self) -> torch.Tensor:
        """(n, d): the cell's embedding, from which expression is decoded: that of the first CLS position."""
        return self.cls_nkd[:, 0]


class WcedModel(PreTrainedModel):
    """Encoder, expression decoder of the objective, and label heads."""

    config_class = WcedConfig
    base_model_prefix = "wced"

    def __init__(self, config: WcedConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.embedding = CellEmbedding(
            config.vocabulary_size, width, config.value_encoder, config.value_frequencies, config.cls_positions
        )
        self.backbone = Llama(width, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
        self.decoder: nn.Module = (
            WholeCellDecoder(width, config.decoder_width, config.vocabulary_size)
            if config.objective == "wced"
            else PositionDecoder(width, config.decoder_width)
        )
        # Column names of obs are no module names when they hold dots; a ModuleDict would refuse those.
        self.label_heads = nn.ModuleList(
            LabelHead(width, head["classes"], config.head_dropout) for head in config.label_heads
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Draw weights with a standard deviation of 0.02, as LLaMA does, and inputs with `INPUT_STD`; biases are 0."""
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=INPUT_STD)
        elif isinstance(module, CellEmbedding):
            for token in (module.zero, module.mask, module.cls):
                nn.init.normal_(token, std=INPUT_STD)

    def encode(
        self,
        gene: torch.Tensor,
        value: torch.Tensor,
        length: torch.Tensor,
        masked: torch.Tensor,
        *,
        cls_only: bool,
    ) -> torch.Tensor:
        """Return hidden states, the k CLS positions first: (n, k, d) with `cls_only`, else (n, k + l, d).

        Parameters
        ----------
        gene, value, masked
            (n, l): vocabulary ids, log1p_10k values, and which values are hidden.
        length
            (n,): positions that are there.
        cls_only
            Whether the last block may leave out all positions but CLS.
        """
        k = self.config.cls_positions
        positions = torch.arange(k + gene.shape[1], device=gene.device)
        present = None if bool((length == gene.shape[1]).all()) else positions < k + length[:, None]
        return self.backbone(self.embedding(gene, value, masked), present, k if cls_only else None)

    def forward(
        self,
        gene: torch.Tensor,
        value: torch.Tensor,
        length: torch.Tensor,
        masked: torch.Tensor | None = None,
        *,
        decode: bool = True,
    ) -> WcedOutput:
        """Embed cells, and decode expression and labels when `decode`; see `encode` and `WcedOutput`."""
        masked = torch.zeros_like(gene, dtype=torch.bool) if masked is None else masked
        whole_cell = self.config.objective == "wced"
        hidden = self.encode(gene, value, length, masked, cls_only=whole_cell or not decode)
        cls, rest = hidden[:, : self.config.cls_positions], hidden[:, self.config.cls_positions :]
        if not decode:
            return WcedOutput(cls, None, None, {})
        detection, values = self.decoder(cls[:, 0] if whole_cell else rest[masked])
        return WcedOutput(cls, detection, values, self.label_logits(cls))

    def label_logits(self, cls_nkd: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits of every label head, by column, each read from its own CLS position; cells × k × d."""
        return {
            spec["column"]: head(cls_nkd[:, spec.get("cls_position", 0)])
            for spec, head in zip(self.config.label_heads, self.label_heads, strict=True)
        }

    @property
    def encoder_parameters(self) -> int:
        """Number of parameters that make the embedding: everything but decoder and heads."""
        return sum(p.numel() for part in (self.embedding, self.backbone) for p in part.parameters())

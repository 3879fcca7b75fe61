"""ModernBERT (Warner et al. 2024) without positions."""

from typing import Any

import torch
from transformers import ModernBertConfig, ModernBertModel

from wced.model.backbones.hugging_face import HuggingFaceBackbone


class ModernBert(HuggingFaceBackbone):
    """Transformers' ModernBERT with full attention in every layer, and all genes at position 0: nothing is rotated."""

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        config = ModernBertConfig(
            vocab_size=1,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
            cls_token_id=None,
            sep_token_id=None,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            layer_types=["full_attention"] * layers,
        )
        super().__init__(ModernBertModel(config))
        self.model.embeddings.tok_embeddings = None

    def positions(self, x_nld: torch.Tensor) -> dict[str, Any]:
        """Put every gene at position 0: rotation by an angle of 0 is the identity, cos 0 = 1 and sin 0 = 0."""
        return {"position_ids": torch.zeros(1, x_nld.shape[1], dtype=torch.long, device=x_nld.device)}

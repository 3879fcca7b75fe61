"""ModernBERT (Warner et al. 2024) without positions."""

from torch import Tensor
from transformers import ModernBertConfig, ModernBertModel

from wced.model.backbones import HuggingFaceBackbone


class Backbone(HuggingFaceBackbone):
    """Transformers' ModernBERT with full attention in every layer, and all genes at position 0: nothing is rotated."""

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        config = ModernBertConfig(
            vocab_size=1, pad_token_id=0, bos_token_id=None, eos_token_id=None, cls_token_id=None, sep_token_id=None,
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner,
            layer_types=["full_attention"] * layers,
        )  # fmt: skip
        super().__init__(ModernBertModel(config))
        self.model.embeddings.tok_embeddings = None

    def encode(self, x_nld: Tensor, present_nl: Tensor | None, at_0: Tensor) -> Tensor:
        """Return all hidden states; rotation by an angle of 0 is the identity, as cos 0 = 1 and sin 0 = 0."""
        return self.model(inputs_embeds=x_nld, attention_mask=present_nl, position_ids=at_0)[0]

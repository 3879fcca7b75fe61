"""BERT (Devlin et al. 2019) without positions."""

from typing import Any

import torch
from transformers import BertConfig, BertModel

from wced.model.backbones.hugging_face import HuggingFaceBackbone, zero_for_good


class Bert(HuggingFaceBackbone):
    """Transformers' BERT; its table of positions is one row of zeros that is never trained, as is that of types."""

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        config = BertConfig(
            vocab_size=1,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=1,
            type_vocab_size=1,
        )
        super().__init__(BertModel(config, add_pooling_layer=False))
        embeddings = self.model.embeddings
        embeddings.word_embeddings = None
        zero_for_good(embeddings.position_embeddings)
        zero_for_good(embeddings.token_type_embeddings)

    def positions(self, x_nld: torch.Tensor) -> dict[str, Any]:
        """Put every gene at position 0, as type 0."""
        nowhere = torch.zeros(1, x_nld.shape[1], dtype=torch.long, device=x_nld.device)
        return {"position_ids": nowhere, "token_type_ids": nowhere}

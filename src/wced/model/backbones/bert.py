"""BERT (Devlin et al. 2019) without positions."""

from torch import Tensor
from transformers import BertConfig, BertModel

from wced.model.backbones import HuggingFaceBackbone, zero_for_good


class Backbone(HuggingFaceBackbone):
    """Transformers' BERT; its table of positions is one row of zeros that is never trained, as is that of types."""

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        config = BertConfig(
            vocab_size=1, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=inner, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            max_position_embeddings=1, type_vocab_size=1,
        )  # fmt: skip
        super().__init__(BertModel(config, add_pooling_layer=False))
        embeddings = self.model.embeddings
        embeddings.word_embeddings = None
        zero_for_good(embeddings.position_embeddings, embeddings.token_type_embeddings)

    def encode(self, x_nld: Tensor, present_nl: Tensor | None, at_0: Tensor) -> Tensor:
        """Return all hidden states, with every gene at position 0 and of type 0."""
        return self.model(inputs_embeds=x_nld, attention_mask=present_nl, position_ids=at_0, token_type_ids=at_0)[0]

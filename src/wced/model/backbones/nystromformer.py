"""Nyströmformer (Xiong et al. 2021) without positions."""

import math

import numpy as np
import torch
from transformers import NystromformerConfig, NystromformerModel
from transformers.models.nystromformer.modeling_nystromformer import NystromformerSelfAttention

from wced.model.backbones.hugging_face import HuggingFaceBackbone, zero_for_good

LANDMARKS = 64
"""Groups of genes whose mean stands for them in attention; docs/models.md has the error that this leaves."""


class LandmarkAttention(NystromformerSelfAttention):
    """Transformers' Nyström attention over landmarks that only genes which are there belong to.

    softmax(q k') v ≈ softmax(q k̃') · softmax(q̃ k̃')⁺ · softmax(q̃ k') v, where q̃ and k̃ are means of the queries and keys
    of a landmark. Transformers' own averages runs of consecutive positions, padding included, starts the iterative
    inverse with a number that depends on all cells of the batch, and adds a convolution over positions: none of it
    here.
    """

    def __init__(self, config: NystromformerConfig) -> None:
        super().__init__(config)
        del self.conv
        self.init_option = "each matrix for itself"  # anything but "original"

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor, output_attentions: bool = False
    ) -> tuple[torch.Tensor]:
        """Attend; in place of a mask comes the landmark of each position, -1 where there is no token; (n, l)."""
        shape = (*hidden_states.shape[:-1], self.num_attention_heads, self.attention_head_size)
        projections = (self.query, self.key, self.value)
        q, k, v = (project(hidden_states).view(shape).transpose(1, 2) for project in projections)
        with torch.autocast(hidden_states.device.type, enabled=False):
            mixed = self._mix(q.float() / math.sqrt(self.attention_head_size), k.float(), v.float(), attention_mask)
        return (mixed.transpose(1, 2).flatten(2).to(hidden_states.dtype),)

    def _mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, landmark_nl: torch.Tensor) -> torch.Tensor:
        number = torch.arange(self.num_landmarks, device=landmark_nl.device)
        member_nml = (landmark_nl.unsqueeze(1) == number[:, None]).float()
        count_nm = member_nml.sum(-1)
        mean_n1ml = (member_nml / count_nm.clamp(min=1).unsqueeze(-1)).unsqueeze(1)
        empty_n1m = (count_nm == 0).unsqueeze(1)
        q_landmark, k_landmark_t = mean_n1ml @ q, (mean_n1ml @ k).transpose(2, 3)
        no_landmark = empty_n1m.unsqueeze(2)
        to_landmarks = (q @ k_landmark_t).masked_fill(no_landmark, -torch.inf).softmax(-1)
        among = (q_landmark @ k_landmark_t).masked_fill(no_landmark, -torch.inf).softmax(-1)
        # Without rows and columns of empty landmarks: the inverse then has none either.
        among = among.masked_fill(empty_n1m.unsqueeze(3), 0)
        absent = (landmark_nl < 0)[:, None, None]
        from_genes = (q_landmark @ k.transpose(2, 3)).masked_fill(absent, -torch.inf).softmax(-1)
        return to_landmarks @ (self.iterative_inv(among) @ (from_genes @ v))


class Nystromformer(HuggingFaceBackbone):
    """Transformers' Nyströmformer with landmarks made of genes with similar input vectors.

    A cell's genes, sorted along a fixed random direction of the input space, are cut into `LANDMARKS` groups of equal
    size, so neither the order of genes nor padding matters.
    """

    def __init__(self, width: int, layers: int, heads: int, inner: int) -> None:
        config = NystromformerConfig(
            vocab_size=1,
            pad_token_id=0,
            eos_token_id=None,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=1,
            type_vocab_size=1,
            num_landmarks=LANDMARKS,
        )
        super().__init__(NystromformerModel(config))
        for layer in self.model.encoder.layer:
            layer.attention.self = LandmarkAttention(config)
        embeddings = self.model.embeddings
        embeddings.word_embeddings = None
        zero_for_good(embeddings.position_embeddings)
        zero_for_good(embeddings.token_type_embeddings)
        direction_d = np.random.default_rng(0).normal(size=width).astype(np.float32)
        self.register_buffer("direction_d", torch.from_numpy(direction_d))

    def forward(self, x_nld: torch.Tensor, present_nl: torch.Tensor | None, queries: int | None = None) -> torch.Tensor:
        """Encode all positions, and return the first `queries` of them (None: all); as `llama.Stack.forward`."""
        landmark_nl = self.landmarks(x_nld, present_nl)
        nowhere = torch.zeros_like(landmark_nl[:1])
        hidden_nld = self.model.embeddings(inputs_embeds=x_nld, position_ids=nowhere, token_type_ids=nowhere)
        hidden_nld = self.model.encoder(hidden_nld, landmark_nl)[0]
        return hidden_nld if queries is None else hidden_nld[:, :queries]

    @torch.no_grad()
    def landmarks(self, x_nld: torch.Tensor, present_nl: torch.Tensor | None) -> torch.Tensor:
        """Return the landmark of each position, -1 where there is no token; shape (n, l).

        Of m genes, the one at rank r belongs to ⌊r · LANDMARKS / m⌋: with fewer genes than landmarks each has its own.
        """
        place_nl = (x_nld.float() * self.direction_d.float()).sum(-1)
        if present_nl is None:
            present_nl = torch.ones_like(place_nl, dtype=torch.bool)
        rank_nl = place_nl.masked_fill(~present_nl, torch.inf).argsort(1).argsort(1)
        landmark_nl = rank_nl * LANDMARKS // present_nl.sum(1, keepdim=True)
        return landmark_nl.masked_fill(~present_nl, -1)

"""What the encoders of the transformers library have in common."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer


class HuggingFaceBackbone(nn.Module):
    """An encoder of the transformers library that reads vectors instead of ids.

    Subclasses build `model` without dropout and make it indifferent to the order of genes.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether training computes activations again instead of keeping them."""
        return any(layer.gradient_checkpointing for layer in self._layers())

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, wanted: bool) -> None:
        for layer in self._layers():
            layer.gradient_checkpointing = wanted
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def _layers(self) -> list[GradientCheckpointingLayer]:
        return [module for module in self.model.modules() if isinstance(module, GradientCheckpointingLayer)]

    def forward(self, x_nld: torch.Tensor, present_nl: torch.Tensor | None, queries: int | None = None) -> torch.Tensor:
        """Encode all positions, and return the first `queries` of them (None: all); as `llama.Stack.forward`."""
        hidden_nld = self.model(inputs_embeds=x_nld, attention_mask=present_nl, **self.positions(x_nld))[0]
        return hidden_nld if queries is None else hidden_nld[:, :queries]

    def positions(self, x_nld: torch.Tensor) -> dict[str, Any]:
        """Return what the model must be told about positions."""
        raise NotImplementedError


def zero_for_good(table: nn.Embedding) -> None:
    """Make a table zeros that no training changes: a buffer, as loading a model makes every parameter trainable."""
    weight = torch.zeros_like(table.weight)
    del table.weight
    table.register_buffer("weight", weight)

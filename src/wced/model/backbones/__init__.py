"""Encoders; the word of the config that chooses one is the name of its module, which defines the class `Backbone`.

A backbone is built as `Backbone(width, layers, heads, inner)` and called as `(x_nld, present_nl, queries)`; see
`llama.Stack.forward`. With its attribute `gradient_checkpointing` set, training computes activations again in the
backward pass instead of keeping them. A class with `approximates = True` has an approximation of attention that no
`attn_implementation` of Transformers can change.
"""

from functools import partial
from importlib import import_module

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from wced.model.configuration import WcedConfig


def class_of(name: str) -> type[nn.Module]:
    """Return the class of a backbone; no other one is imported."""
    return import_module(f"{__name__}.{name}").Backbone


def build(config: WcedConfig) -> nn.Module:
    """Return the backbone of a model's config."""
    shape = config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size
    return class_of(config.backbone)(*shape)


def layers_of(backbone: nn.Module, n: int) -> nn.ModuleList:
    """Return the `n` layers of any encoder."""
    return next(part for part in backbone.modules() if isinstance(part, nn.ModuleList) and len(part) == n)


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
    def gradient_checkpointing(self, on: bool) -> None:
        for layer in self._layers():
            layer.gradient_checkpointing = on
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def _layers(self) -> list[GradientCheckpointingLayer]:
        return [module for module in self.model.modules() if isinstance(module, GradientCheckpointingLayer)]

    def forward(self, x_nld: Tensor, present_nl: Tensor | None, queries: int | None = None) -> Tensor:
        """Encode all positions, and return the first `queries` of them (None: all); as `llama.Stack.forward`."""
        at_0 = torch.zeros(1, x_nld.shape[1], dtype=torch.long, device=x_nld.device)
        hidden_nld = self.encode(x_nld, present_nl, at_0)
        return hidden_nld if queries is None else hidden_nld[:, :queries]

    def encode(self, x_nld: Tensor, present_nl: Tensor | None, at_0: Tensor) -> Tensor:
        """Return all hidden states; `at_0` puts every gene at position 0."""
        raise NotImplementedError


def zero_for_good(*tables: nn.Embedding) -> None:
    """Make tables zeros that no training changes: buffers, as loading a model makes every parameter trainable."""
    for table in tables:
        weight = torch.zeros_like(table.weight)
        del table.weight
        table.register_buffer("weight", weight)

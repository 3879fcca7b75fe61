"""How an expression value becomes a vector: features of the value times learned vectors (paper, section 12.3.5).

The word of the config that chooses an encoder is the name of a module of this folder, which defines its class `Encoder`
from a model's config.
"""

from importlib import import_module

import torch
from torch import Tensor, nn

from wced.model.configuration import WcedConfig


class ValueEncoder(nn.Module):
    """e(x) = Σ_f φ_f(x) · v_f.

    The two factors are separate, so that the input embedding multiplies them together with its tokens in a single
    matrix product.
    """

    def features(self, value_nl: Tensor) -> Tensor:
        """Return φ of each value; shape (n, l) → (n, l, f)."""
        raise NotImplementedError

    def vectors(self) -> Tensor:
        """Return v of each feature; shape (f, d). By default weights and bias of the linear layer `project`."""
        return torch.cat([self.project.weight.T, self.project.bias[None]])

    def initialise(self, std: float) -> None:
        """Initialise v at random, such that an entry of a value's vector has about this standard deviation."""
        raise NotImplementedError

    def forward(self, value_nl: Tensor) -> Tensor:
        """Encode values; shape (n, l) → (n, l, d)."""
        vectors_fd = self.vectors()
        return self.features(value_nl).to(vectors_fd.dtype) @ vectors_fd


def build(config: WcedConfig) -> ValueEncoder:
    """Return the value encoder of a model's config."""
    return import_module(f"{__name__}.{config.value_encoder}").Encoder(config)

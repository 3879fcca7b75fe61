"""A small fully connected network on a value."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from wced.model.configuration import WcedConfig
from wced.model.value_encoders import ValueEncoder


class Encoder(ValueEncoder):
    """e(x) = W gelu(u x + c) + b (paper, section 12.3.5)."""

    def __init__(self, config: WcedConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(1, config.hidden_size)
        self.project = nn.Linear(config.hidden_size, config.hidden_size)

    def features(self, value_nl: Tensor) -> Tensor:
        """Return the hidden layer and 1; shape (n, l, d + 1)."""
        hidden = F.gelu(self.hidden(value_nl.unsqueeze(-1).to(self.hidden.weight.dtype)))
        return F.pad(hidden, (0, 1), value=1.0)

    def initialise(self, std: float) -> None:
        """Initialise u with a standard deviation of 1, and W such that the sum over features has `std` at x = 1."""
        nn.init.normal_(self.hidden.weight)
        # E[gelu(u)²] = 0.43 for u from the standard normal distribution.
        nn.init.normal_(self.project.weight, std=std / math.sqrt(0.43 * self.project.in_features))

"""Sines and cosines of a value."""

import math

import torch
from torch import Tensor, nn

from wced.model.configuration import WcedConfig
from wced.model.value_encoders import ValueEncoder


class Encoder(ValueEncoder):
    """Sines and cosines, then a linear layer (paper, section 12.3.5).

    e(x) = W [sin(2π f_1 x), …, sin(2π f_K x), cos(2π f_1 x), …, cos(2π f_K x)] + b

    Frequencies start evenly on a log scale from 0.01 to 8 periods per unit. The reference code doubles 0.01 47 times;
    above the 27th the phase exceeds float32's precision and is noise. Eight periods per unit of log1p_10k already tell
    apart neighbouring counts of any cell.
    """

    def __init__(self, config: WcedConfig) -> None:
        super().__init__()
        frequency = torch.exp(torch.linspace(math.log(0.01), math.log(8.0), config.value_frequencies))
        if config.trainable_frequencies:
            self.frequency = nn.Parameter(frequency)
        else:
            self.register_buffer("frequency", frequency)
        self.project = nn.Linear(2 * config.value_frequencies, config.hidden_size)

    def features(self, value_nl: Tensor) -> Tensor:
        """Return sines, cosines and 1, in float32 whatever the precision of the model; shape (n, l, 2K + 1)."""
        with torch.autocast(value_nl.device.type, enabled=False):
            phase = value_nl.float().unsqueeze(-1) * (2 * math.pi * self.frequency.float())
            return torch.cat([phase.sin(), phase.cos(), torch.ones_like(phase[..., :1])], dim=-1)

    def initialise(self, std: float) -> None:
        """Initialise W; of each frequency sin² + cos² is 1."""
        nn.init.normal_(self.project.weight, std=std / math.sqrt(len(self.frequency)))

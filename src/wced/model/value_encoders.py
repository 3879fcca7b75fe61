"""How an expression value becomes a vector: features of the value times learned vectors (paper, section 12.3.5)."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from wced.errors import WcedError
from wced.model.configuration import WcedConfig


class ValueEncoder(nn.Module):
    """e(x) = Σ_f φ_f(x) · v_f.

    The two factors are given apart, so that the input embedding multiplies them together with its own tokens' in a
    single matrix product.
    """

    def features(self, value_nl: torch.Tensor) -> torch.Tensor:
        """Return φ of each value; shape (n, l) → (n, l, f)."""
        raise NotImplementedError

    def vectors(self) -> torch.Tensor:
        """Return what each feature adds; shape (f, d)."""
        raise NotImplementedError

    def draw(self, std: float) -> None:
        """Draw the vectors anew, such that an entry of a value's vector has about this standard deviation."""
        raise NotImplementedError

    def forward(self, value_nl: torch.Tensor) -> torch.Tensor:
        """Encode values; shape (n, l) → (n, l, d)."""
        vectors_fd = self.vectors()
        return self.features(value_nl).to(vectors_fd.dtype) @ vectors_fd


class PeriodicEncoder(ValueEncoder):
    """Sines and cosines, then a linear layer (paper, section 12.3.5).

    e(x) = W [sin(2π f_1 x), …, sin(2π f_K x), cos(2π f_1 x), …, cos(2π f_K x)] + b
    """

    def __init__(self, frequencies: int, width: int, *, trainable: bool) -> None:
        """Start from frequencies spaced evenly on a log scale from 0.01 to 8 periods per unit.

        The reference code doubles 0.01 47 times; above the 27th the phase exceeds float32's precision and is
        noise. Eight periods per unit of log1p_10k already tell apart neighbouring counts of any cell.
        """
        super().__init__()
        frequency = torch.exp(torch.linspace(math.log(0.01), math.log(8.0), frequencies))
        if trainable:
            self.frequency = nn.Parameter(frequency)
        else:
            self.register_buffer("frequency", frequency)
        self.project = nn.Linear(2 * frequencies, width)

    def features(self, value_nl: torch.Tensor) -> torch.Tensor:
        """Return sines, cosines and 1, in float32 whatever the precision of the model; shape (n, l, 2K + 1)."""
        with torch.autocast(value_nl.device.type, enabled=False):
            phase = value_nl.float().unsqueeze(-1) * (2 * math.pi * self.frequency.float())
            return torch.cat([phase.sin(), phase.cos(), torch.ones_like(phase[..., :1])], dim=-1)

    def vectors(self) -> torch.Tensor:
        """Return W and b; shape (2K + 1, d)."""
        return torch.cat([self.project.weight.T, self.project.bias[None]])

    def draw(self, std: float) -> None:
        """Draw W; of each frequency sin² + cos² is 1."""
        nn.init.normal_(self.project.weight, std=std / math.sqrt(len(self.frequency)))


class MLPEncoder(ValueEncoder):
    """A small fully connected network on the value (paper, section 12.3.5): e(x) = W gelu(u x + c) + b."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(1, width)
        self.project = nn.Linear(width, width)

    def features(self, value_nl: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer and 1; shape (n, l, d + 1)."""
        hidden = F.gelu(self.hidden(value_nl.unsqueeze(-1).to(self.hidden.weight.dtype)))
        return F.pad(hidden, (0, 1), value=1.0)

    def vectors(self) -> torch.Tensor:
        """Return W and b; shape (d + 1, d)."""
        return torch.cat([self.project.weight.T, self.project.bias[None]])

    def draw(self, std: float) -> None:
        """Draw u with a standard deviation of 1, and W such that the sum over the features has `std` at x = 1."""
        nn.init.normal_(self.hidden.weight)
        # E[gelu(u)²] = 0.43 for u from the standard normal distribution.
        nn.init.normal_(self.project.weight, std=std / math.sqrt(0.43 * self.project.in_features))


class TableEncoder(ValueEncoder):
    """A learned vector for each bin 1, …, B; a value outside counts as the nearest bin."""

    def __init__(self, bins: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(bins, width)

    def features(self, value_nl: torch.Tensor) -> torch.Tensor:
        """Return 1 for the value's bin and 0 for the others; shape (n, l, B)."""
        bins = torch.arange(1, self.table.num_embeddings + 1, device=value_nl.device)
        return value_nl.clamp(1, len(bins)).unsqueeze(-1) == bins

    def vectors(self) -> torch.Tensor:
        """Return the table; shape (B, d)."""
        return self.table.weight

    def draw(self, std: float) -> None:
        """Draw the table."""
        nn.init.normal_(self.table.weight, std=std)


def build(config: WcedConfig) -> ValueEncoder:
    """Return the value encoder that a model's config asks for.

    Raises
    ------
    WcedError
        If it is no known one, or `table` for values that are no bins.
    """
    name, width = config.value_encoder, config.hidden_size
    if name == "periodic":
        return PeriodicEncoder(config.value_frequencies, width, trainable=config.trainable_frequencies)
    if name == "mlp":
        return MLPEncoder(width)
    if name == "table":
        if config.input.get("values") != "bins":
            raise WcedError(f"value_encoder table needs input.values bins, not {config.input.get('values')}")
        return TableEncoder(config.input["bins"], width)
    raise WcedError(f"value_encoder {name!r} is none of periodic, mlp, table")

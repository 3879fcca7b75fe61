"""A learned vector for each bin of values."""

import torch
from torch import Tensor, nn

from wced.errors import WcedError
from wced.model.configuration import WcedConfig
from wced.model.value_encoders import ValueEncoder


class Encoder(ValueEncoder):
    """A vector for each bin 1, …, B; a value outside counts as the nearest bin."""

    def __init__(self, config: WcedConfig) -> None:
        """Make the table; raise WcedError if values are not bins."""
        super().__init__()
        if config.input.get("values") != "bins":
            raise WcedError(f"value_encoder table needs input.values bins, not {config.input.get('values')}")
        self.table = nn.Embedding(config.input["bins"], config.hidden_size)

    def features(self, value_nl: Tensor) -> Tensor:
        """Return 1 for the value's bin and 0 for the others; shape (n, l, B)."""
        bins = torch.arange(1, self.table.num_embeddings + 1, device=value_nl.device)
        return value_nl.clamp(1, len(bins)).unsqueeze(-1) == bins

    def vectors(self) -> Tensor:
        """Return the table; shape (B, d)."""
        return self.table.weight

    def initialise(self, std: float) -> None:
        """Initialise the table."""
        nn.init.normal_(self.table.weight, std=std)

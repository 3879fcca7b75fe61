"""How losses become one."""

from collections.abc import Mapping

import torch


def weighted_mean(losses: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """Return Σ w·L / Σ w over the losses given (as the reference code); a weight of 0 leaves a loss out.

    Raises
    ------
    ValueError
        If no loss has a positive weight.
    """
    active = {name: loss for name, loss in losses.items() if weights[name] > 0}
    if not active:
        raise ValueError("no loss has a positive weight")
    return sum(weights[name] * loss for name, loss in active.items()) / sum(weights[name] for name in active)

"""How losses become one."""

from collections.abc import Mapping

import torch

from wced.objectives.term import Term


def weighted_mean(terms: Mapping[str, Term], weights: Mapping[str, float]) -> torch.Tensor:
    """Return Σ w·L / Σ w over the losses that have something to say (as the reference code).

    A weight of 0 leaves a loss out, and so does a count of 0, which is seen without waiting for the device. Where none
    is left the result is 0, with a gradient of 0.
    """
    active = {name: term for name, term in terms.items() if weights[name] > 0}
    if not active:
        return sum(term.total for term in terms.values()) * 0.0
    said = {name: weights[name] * (term.count > 0).float() for name, term in active.items()}
    total = sum(said[name] * term.mean for name, term in active.items())
    return total / sum(said.values()).clamp(min=torch.finfo(torch.float32).tiny)

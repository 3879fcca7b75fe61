"""What every objective returns, and how several losses become one."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Term(NamedTuple):
    """One loss over a batch as total / count, so that batches of several processes can be added up exactly."""

    total: Tensor
    """Scalar, float32."""
    count: Tensor
    """Scalar, float32: number of cells, genes or positions that the total is over; may be 0."""

    @property
    def mean(self) -> Tensor:
        """Loss of this batch alone; 0 where the count is 0."""
        return self.total / self.count.clamp(min=1)


def term(total: Tensor, count: Tensor | int) -> Term:
    """Return a term in float32, with its count on the device of the total."""
    return Term(total.float(), torch.as_tensor(count, device=total.device).float())


def weighted_mean(terms: Mapping[str, Term], weights: Mapping[str, float]) -> Tensor:
    """Return Σ w·L / Σ w over the losses with a weight and a count above 0 (as the reference code).

    Counts are compared on their device, which is not waited for. Where no loss is left, the result and its gradient
    are 0.
    """
    active = {name: term for name, term in terms.items() if weights[name] > 0}
    if not active:
        return sum(term.total for term in terms.values()) * 0.0
    in_force = {name: weights[name] * (term.count > 0).float() for name, term in active.items()}
    total = sum(in_force[name] * term.mean for name, term in active.items())
    return total / sum(in_force.values()).clamp(min=torch.finfo(torch.float32).tiny)

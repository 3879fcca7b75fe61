"""What every objective gives: a sum and what it is divided by."""

from typing import NamedTuple

import torch


class Term(NamedTuple):
    """One loss over a batch as total / count, so that batches of several processes can be added up exactly."""

    total: torch.Tensor
    """Scalar, float32: the sum."""
    count: torch.Tensor
    """Scalar, float32: how many cells, genes or positions it is over; 0 when the batch has nothing to say."""

    @property
    def mean(self) -> torch.Tensor:
        """The loss of this batch alone; 0 when there is nothing."""
        return self.total / self.count.clamp(min=1)


def term(total: torch.Tensor, count: torch.Tensor | int) -> Term:
    """Return a term with its count as a float32 tensor beside the total."""
    count = torch.as_tensor(count, device=total.device)
    return Term(total.float(), count.float())


def sum_of(loss_n: torch.Tensor, known_n: torch.Tensor) -> Term:
    """Return the sum of what cells gave, over how many of them are known."""
    return term(loss_n.sum(), known_n.sum())

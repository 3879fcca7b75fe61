"""The loss of a number."""

import torch
from torch import nn

from wced.objectives.term import Term, sum_of


class NumberLoss(nn.Module):
    """Squared error of a number, standardised: (ŷ − (y − mean) / std)²."""

    def __init__(self, mean: float, std: float) -> None:
        """Take mean and standard deviation of the training cells' numbers; std > 0."""
        super().__init__()
        self.mean, self.std = mean, std

    def per_cell(self, predicted_n1: torch.Tensor, number_n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of every cell (0 where its number is NaN), and which numbers are known.

        Parameters
        ----------
        predicted_n1
            Predictions of the standardised number, cells × 1.
        number_n
            The numbers as they are.
        """
        known_n = ~torch.isnan(number_n)
        target_n = (torch.where(known_n, number_n, self.mean).float() - self.mean) / self.std
        return torch.where(known_n, (predicted_n1[:, 0].float() - target_n).square(), 0.0), known_n

    def forward(self, predicted_n1: torch.Tensor, number_n: torch.Tensor) -> Term:
        """Return the sum over the cells whose number is known; others weigh nothing."""
        return sum_of(*self.per_cell(predicted_n1, number_n))

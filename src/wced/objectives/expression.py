"""Losses of expression decoding: is a gene expressed, and if so, how much (paper, sections 4.4 and 12.5)."""

from typing import NamedTuple

import torch
from torch.nn import functional as F


class ExpressionLosses(NamedTuple):
    """The two parts, each a scalar in float32; a part with nothing to predict is 0."""

    detection: torch.Tensor
    """Mean binary cross-entropy, in nats."""
    value: torch.Tensor
    """Mean squared error of log1p_10k over expressed genes."""


def whole_cell_losses(
    detection_ng: torch.Tensor,
    value_ng: torch.Tensor,
    target_row: torch.Tensor,
    target_gene: torch.Tensor,
    target_value: torch.Tensor,
    measured_ng: torch.Tensor,
) -> ExpressionLosses:
    """Whole-cell expression decoding: detection of every measured gene, value of every expressed one.

    With logit z of being expressed and target y, the cross-entropy is softplus(z) − y·z, so the sum over a cell
    needs no dense target: the second term is gathered at the expressed genes alone.

    Parameters
    ----------
    detection_ng, value_ng
        Logits and predicted log1p_10k, cells × genes.
    target_row, target_gene, target_value
        (t,): cell, vocabulary id and log1p_10k of every expressed gene.
    measured_ng
        bool, cells × genes: False where the cell's dataset never measured the gene, which is no zero.
    """
    logits, target_gene = detection_ng.float(), target_gene.long()
    expressed = logits[target_row, target_gene]
    total = (F.softplus(logits) * measured_ng).sum() - expressed.sum()
    predicted = value_ng[target_row, target_gene].float()
    return ExpressionLosses(total / measured_ng.sum().clamp(min=1), _mean_squared_error(predicted, target_value))


def masked_position_losses(
    detection_m: torch.Tensor, value_m: torch.Tensor, target_m: torch.Tensor
) -> ExpressionLosses:
    """Masked language modelling: the same two losses at the masked positions only.

    Parameters
    ----------
    detection_m, value_m
        (m,): logits and predicted log1p_10k.
    target_m
        (m,): true log1p_10k, 0 where the gene is not expressed.
    """
    logits, expressed = detection_m.float(), target_m > 0
    detection = F.binary_cross_entropy_with_logits(logits, expressed.float()) if len(logits) else logits.sum()
    return ExpressionLosses(detection, _mean_squared_error(value_m.float()[expressed], target_m[expressed]))


def _mean_squared_error(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(predicted, target) if len(target) else predicted.sum()

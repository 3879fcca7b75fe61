"""Whole-cell expression decoding: is a gene expressed, and if so, how much (paper, sections 4.4 and 12.5)."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wced.objectives.term import Term, term

ValueLoss = Literal["mse", "zero_inflated_mse"]


class ExpressionTerms(NamedTuple):
    """The two losses of decoded expression."""

    detection: Term
    """Binary cross-entropy, in nats, of whether a gene is expressed."""
    value: Term
    """Squared error of log1p_10k over its scale: of expressed genes or, zero-inflated and not scaled, of all."""


def weights(section: Any) -> dict[str, float]:
    """Return the weight of each loss."""
    return {"wced_detection": section.detection_weight, "wced_value": section.value_weight}


def terms(section: Any, batch: Mapping[str, Tensor], output: Any) -> dict[str, Term]:
    """Return the losses of a batch."""
    gene_t = batch["target_gene"]
    losses = whole_cell_terms(
        output.detection_logits, output.values, batch["target_row"], gene_t, batch["target_value"],
        batch["measured_dv"][batch["dataset"].long()], section.value_loss, value_scale(section, batch, gene_t),
    )  # fmt: skip
    return {"wced_detection": losses.detection, "wced_value": losses.value}


def value_scale(section: Any, batch: Mapping[str, Tensor], gene: Tensor) -> Tensor | float:
    """Return what the errors of some genes' values are divided by."""
    return batch["value_scale_g"][gene.long()] if section.value_scale == "gene_std" else 1.0


def whole_cell_terms(
    detection_ng: Tensor, value_ng: Tensor, target_row: Tensor, target_gene: Tensor, target_value: Tensor,
    measured_ng: Tensor, value_loss: ValueLoss = "mse", scale_t: Tensor | float = 1.0,
) -> ExpressionTerms:  # fmt: skip
    """Return the losses of detecting every measured gene, and of the value of every expressed one.

    With logit z of being expressed and target y, the cross-entropy is softplus(z) − y·z, so the sum over a cell
    needs no dense target: the second term is gathered at the expressed genes alone. Likewise the zero-inflated squared
    error (p·v − x)², with p = σ(z), is (p·v)² everywhere and x² − 2·p·v·x where x is not 0.

    Parameters
    ----------
    detection_ng, value_ng
        Logits and predicted log1p_10k, cells × genes.
    target_row, target_gene, target_value
        (t,): cell, vocabulary id and log1p_10k of every expressed gene.
    measured_ng
        bool, cells × genes: False where the cell's dataset never measured the gene, which is no zero.
    value_loss
        `mse` over expressed genes, or `zero_inflated_mse`, the squared error of σ(z)·v over all measured ones.
    scale_t
        (t,): what the error of each value is divided by before it is squared; for `mse` alone.
    """
    logits, target_gene, measured = detection_ng.float(), target_gene.long(), measured_ng.sum()
    detection = (F.softplus(logits) * measured_ng).sum() - logits[target_row, target_gene].sum()
    if value_loss == "mse":
        error = (value_ng[target_row, target_gene].float() - target_value) / scale_t
        value = term(error.square().sum(), len(target_value))
    else:
        expected = torch.sigmoid(logits) * value_ng.float()
        at = expected[target_row, target_gene]
        total = (expected.square() * measured_ng).sum() + (target_value * (target_value - 2 * at)).sum()
        value = term(total, measured)
    return ExpressionTerms(term(detection, measured), value)

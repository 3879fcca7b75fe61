"""Losses of expression decoding: is a gene expressed, and if so, how much (paper, sections 4.4 and 12.5)."""

from typing import Literal, NamedTuple

import torch
from torch.nn import functional as F

from wced.objectives.term import Term, term

ValueLoss = Literal["mse", "zero_inflated_mse"]


class ExpressionTerms(NamedTuple):
    """The two parts."""

    detection: Term
    """Binary cross-entropy, in nats, of whether a gene is expressed."""
    value: Term
    """Squared error of log1p_10k over its scale: over expressed genes, or, zero-inflated and not scaled, over all."""


def whole_cell_terms(
    detection_ng: torch.Tensor,
    value_ng: torch.Tensor,
    target_row: torch.Tensor,
    target_gene: torch.Tensor,
    target_value: torch.Tensor,
    measured_ng: torch.Tensor,
    value_loss: ValueLoss = "mse",
    scale_t: torch.Tensor | float = 1.0,
) -> ExpressionTerms:
    """Whole-cell expression decoding: detection of every measured gene, value of every expressed one.

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
    expressed = logits[target_row, target_gene]
    detection = (F.softplus(logits) * measured_ng).sum() - expressed.sum()
    if value_loss == "mse":
        error = (value_ng[target_row, target_gene].float() - target_value) / scale_t
        value = term(error.square().sum(), len(target_value))
    else:
        expected = torch.sigmoid(logits) * value_ng.float()
        at = expected[target_row, target_gene]
        total = (expected.square() * measured_ng).sum() + (target_value * (target_value - 2 * at)).sum()
        value = term(total, measured)
    return ExpressionTerms(term(detection, measured), value)


def masked_position_terms(
    detection_m: torch.Tensor,
    value_m: torch.Tensor,
    target_m: torch.Tensor,
    value_loss: ValueLoss = "mse",
    scale_m: torch.Tensor | float = 1.0,
) -> ExpressionTerms:
    """Masked language modelling: the same two losses at the positions whose values are hidden only.

    Parameters
    ----------
    detection_m, value_m
        (m,): logits and predicted log1p_10k.
    target_m
        (m,): true log1p_10k, 0 where the gene is not expressed.
    value_loss, scale_m
        As for whole cells; (m,).
    """
    logits, value_m, expressed = detection_m.float(), value_m.float(), target_m > 0
    detection = F.binary_cross_entropy_with_logits(logits, expressed.float(), reduction="sum")
    if value_loss == "mse":
        error = ((value_m - target_m) / scale_m).square() * expressed
        value = term(error.sum(), expressed.sum())
    else:
        value = term(F.mse_loss(torch.sigmoid(logits) * value_m, target_m, reduction="sum"), len(target_m))
    return ExpressionTerms(term(detection, len(target_m)), value)


def hidden_gene_term(gene_logits_hg: torch.Tensor, gene_h: torch.Tensor) -> Term:
    """Return the cross-entropy of which gene stands at the positions whose genes are hidden (paper, 12.5.1).

    Parameters
    ----------
    gene_logits_hg
        Logits of every gene, positions × genes.
    gene_h
        (h,): vocabulary id of the gene that stands there.
    """
    return term(F.cross_entropy(gene_logits_hg.float(), gene_h.long(), reduction="sum"), len(gene_h))

"""Masked language modelling: expression and genes at the hidden positions of a sequence (paper, section 12.5.1)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wced.objectives.term import Term, term
from wced.objectives.wced import ExpressionTerms, ValueLoss, value_scale


def weights(section: Any) -> dict[str, float]:
    """Return the weight of each loss."""
    by_name = {"mlm_detection": section.detection_weight, "mlm_value": section.value_weight}
    return by_name | ({"mlm_gene": section.gene_weight} if section.hide_genes else {})


def terms(section: Any, batch: Mapping[str, Tensor], output: Any) -> dict[str, Term]:
    """Return the losses of a batch."""
    at_m, gene_nl = batch["masked_at"], batch["gene"].flatten()
    losses = masked_position_terms(
        output.position_logits, output.position_values, batch["position_target"].flatten()[at_m], section.value_loss,
        value_scale(section, batch, gene_nl[at_m]),
    )  # fmt: skip
    by_name = {"mlm_detection": losses.detection, "mlm_value": losses.value}
    if section.hide_genes:
        by_name["mlm_gene"] = hidden_gene_term(output.gene_logits, gene_nl[batch["gene_masked_at"]])
    return by_name


def masked_position_terms(
    detection_m: Tensor, value_m: Tensor, target_m: Tensor, value_loss: ValueLoss = "mse", scale_m: Tensor | float = 1.0
) -> ExpressionTerms:
    """Return the losses of `whole_cell_terms` at the m positions whose values are hidden.

    `detection_m` and `value_m` are logits and predicted log1p_10k, `target_m` the true ones, 0 where the gene is not
    expressed.
    """
    logits, value_m, expressed = detection_m.float(), value_m.float(), target_m > 0
    detection = F.binary_cross_entropy_with_logits(logits, expressed.float(), reduction="sum")
    if value_loss == "mse":
        error = ((value_m - target_m) / scale_m).square() * expressed
        value = term(error.sum(), expressed.sum())
    else:
        value = term(F.mse_loss(torch.sigmoid(logits) * value_m, target_m, reduction="sum"), len(target_m))
    return ExpressionTerms(term(detection, len(target_m)), value)


def hidden_gene_term(gene_logits_hg: Tensor, gene_h: Tensor) -> Term:
    """Return the cross-entropy of vocabulary ids at positions whose genes are hidden, among the logits of all genes."""
    return term(F.cross_entropy(gene_logits_hg.float(), gene_h.long(), reduction="sum"), len(gene_h))

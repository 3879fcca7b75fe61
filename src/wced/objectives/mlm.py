"""Masked language modelling: expression and genes at the hidden positions of a sequence (paper, section 12.5.1)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wced.objectives.term import Term, term
from wced.objectives.wced import value_scale


def weights(section: Any) -> dict[str, float]:
    """Return the weight of each loss."""
    by_name = {"mlm_detection": section.detection_weight, "mlm_value": section.value_weight}
    return by_name | ({"mlm_gene": section.gene_weight} if section.hide_genes else {})


def terms(section: Any, batch: Mapping[str, Tensor], output: Any) -> dict[str, Term]:
    """Return the losses of `wced` at the m positions with hidden values, and the cross-entropy of h hidden genes.

    A batch has `gene` and `position_target` (log1p_10k, 0 where the gene is not expressed), cells × positions, and the
    flat indices `masked_at` (m,) and `gene_masked_at` (h,); the output `position_logits` and `position_values`, (m,),
    and `gene_logits`, h × genes.
    """
    gene_nl, at_m = batch["gene"].flatten(), batch["masked_at"]
    target_m = batch["position_target"].flatten()[at_m]
    logits_m, value_m, expressed_m = output.position_logits.float(), output.position_values.float(), target_m > 0
    detection = F.binary_cross_entropy_with_logits(logits_m, expressed_m.float(), reduction="sum")
    if section.value_loss == "mse":
        error_m = (value_m - target_m) / value_scale(section, batch, gene_nl[at_m])
        value = term((error_m.square() * expressed_m).sum(), expressed_m.sum())
    else:
        value = term(F.mse_loss(torch.sigmoid(logits_m) * value_m, target_m, reduction="sum"), len(target_m))
    by_name = {"mlm_detection": term(detection, len(target_m)), "mlm_value": value}
    if section.hide_genes:
        gene_h = gene_nl[batch["gene_masked_at"]].long()
        total = F.cross_entropy(output.gene_logits.float(), gene_h, reduction="sum")
        by_name["mlm_gene"] = term(total, len(gene_h))
    return by_name

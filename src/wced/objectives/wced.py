"""Whole-cell expression decoding: is a gene expressed, and if so, how much (paper, sections 4.4 and 12.5)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wced.objectives.term import Term, term


def weights(section: Any) -> dict[str, float]:
    """Return the weight of each loss."""
    return {"wced_detection": section.detection_weight, "wced_value": section.value_weight}


def terms(section: Any, batch: Mapping[str, Tensor], output: Any) -> dict[str, Term]:
    """Return the cross-entropy, in nats, of detecting every measured gene, and the squared errors of log1p_10k.

    With logit z of being expressed and target y, the cross-entropy is softplus(z) − y·z, so the sum over a cell
    needs no dense target: the second term is gathered at the expressed genes alone. Squared errors are of expressed
    genes, over their scale, or with `zero_inflated_mse` of σ(z)·v for all measured ones: with p = σ(z), (p·v − x)² is
    (p·v)² everywhere and x² − 2·p·v·x where x is not 0.

    A batch has (t,) `target_row`, `target_gene` and `target_value`: cell, vocabulary id and log1p_10k of every
    expressed gene; the `dataset` of each cell, and `measured_dv` (bool): a gene that its dataset never measured is no
    zero. The output has `detection_logits` z and `values` v, cells × genes.
    """
    row_t, gene_t, target_t = batch["target_row"], batch["target_gene"].long(), batch["target_value"]
    logits_ng, measured_ng = output.detection_logits.float(), batch["measured_dv"][batch["dataset"].long()]
    expressed_t = logits_ng[row_t, gene_t]
    detection = (F.softplus(logits_ng) * measured_ng).sum() - expressed_t.sum()
    if section.value_loss == "mse":
        error_t = (output.values[row_t, gene_t].float() - target_t) / value_scale(section, batch, gene_t)
        value = term(error_t.square().sum(), len(target_t))
    else:
        expected_ng = torch.sigmoid(logits_ng) * output.values.float()
        at_t = expected_ng[row_t, gene_t]
        total = (expected_ng.square() * measured_ng).sum() + (target_t * (target_t - 2 * at_t)).sum()
        value = term(total, measured_ng.sum())
    return {"wced_detection": term(detection, measured_ng.sum()), "wced_value": value}


def value_scale(section: Any, batch: Mapping[str, Tensor], gene: Tensor) -> Tensor | float:
    """Return what the errors of some genes' values are divided by before they are squared."""
    return batch["value_scale_g"][gene.long()] if section.value_scale == "gene_std" else 1.0

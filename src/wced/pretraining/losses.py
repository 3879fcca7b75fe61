"""The objectives of a checkpoint put together: which losses a batch has, and what each weighs at a step."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wced.config.pretraining import Checkpoint, LabelHead
from wced.model import WcedOutput
from wced.objectives import LeafTargets, Term, objective
from wced.objectives.contrast import Contrast
from wced.objectives.hierarchical import HierarchicalCrossEntropy
from wced.objectives.labels import FlatLabelLoss, NumberLoss
from wced.shards.batches import TensorBatch


class Losses(nn.Module):
    """All losses of a checkpoint by name: `wced_detection`, `mlm_value`, …, `contrast`, and the column of each head.

    Metrics are these losses as they are trained on: with `value_scale: gene_std`, `wced_value` and `mlm_value` are of
    scaled errors, and early stopping looks at those. Gene errors are never scaled.
    """

    def __init__(
        self, section: Checkpoint, *, measured_dv: np.ndarray, label_columns: Sequence[str],
        number_columns: Sequence[str], leaf_targets: Mapping[str, LeafTargets],
        standard: Mapping[str, tuple[float, float]], related_cc: np.ndarray | None = None,
        value_scale_g: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Make the losses of a section.

        `label_columns` and `number_columns` are the columns of a batch's `labels` and `numbers`, `measured_dv` is bool,
        datasets × genes, and `value_scale_g` has what errors of each gene's values are divided by, where the section
        scales them; float32. By column of a head, `leaf_targets` has the leaves of its classes and `standard` the mean
        and standard deviation of its number. `related_cc` (bool) says which classes of `contrast.positives` have cells
        that are positives of each other.
        """
        super().__init__()
        self.section = section
        self.register_buffer("measured_dv", torch.from_numpy(measured_dv), persistent=False)
        scale_g = None if value_scale_g is None else torch.from_numpy(value_scale_g)
        # It is of all training cells, so the training state keeps it where it is used.
        scales = any(part is not None and part.value_scale == "gene_std" for part in (section.wced, section.mlm))
        self.register_buffer("value_scale_g", scale_g, persistent=scales)
        self.objectives = [
            (module, part) for key, part in section if part is not None and (module := objective(key)) is not None
        ]
        self._scheduled = [
            (name, weight, part.schedule)
            for module, part in self.objectives
            for name, weight in module.weights(part).items()
        ]
        self.contrast, self.positives_at = None, None
        if section.contrast is not None:
            self.contrast = Contrast(section.contrast.temperature, related_cc)
            self._scheduled.append(("contrast", section.contrast.weight, section.contrast.schedule))
            if section.contrast.positives is not None:
                self.positives_at = list(label_columns).index(section.contrast.positives)
        self.truth_at = {
            head.column: ("numbers", list(number_columns).index(head.column))
            if head.loss == "mse"
            else ("labels", list(label_columns).index(head.column))
            for head in section.label_heads
        }
        self.label_losses = nn.ModuleList(_label_loss(head, leaf_targets, standard) for head in section.label_heads)
        self._scheduled += [(head.column, head.weight, head.schedule) for head in section.label_heads]

    def weights(self, epochs: float | None = None) -> dict[str, float]:
        """Return the weight of each loss after so many epochs; None for the full weights, whatever the schedule."""
        return {
            name: weight * (1.0 if epochs is None else schedule.factor(epochs))
            for name, weight, schedule in self._scheduled
        }

    def reversal(self, epochs: float) -> dict[str, float]:
        """Return, by column of the heads with gradient reversal, its coefficient after so many epochs."""
        return {
            head.column: head.gradient_reversal.coefficient * head.gradient_reversal.schedule.factor(epochs)
            for head in self.section.label_heads
            if head.gradient_reversal is not None
        }

    def forward(self, batch: TensorBatch, output: WcedOutput) -> dict[str, Term]:
        """Return every loss of a batch but the contrast, by name."""
        with_genes = batch | {"measured_dv": self.measured_dv, "value_scale_g": self.value_scale_g}
        terms: dict[str, Term] = {}
        for module, part in self.objectives:
            terms |= module.terms(part, with_genes, output)
        for head, loss in zip(self.section.label_heads, self.label_losses, strict=True):
            terms[head.column] = loss(output.label_logits[head.column], self._truth(batch, head.column))
        return terms

    def contrasted(self, batch: TensorBatch, first_nd: Tensor, second_nd: Tensor) -> Term:
        """Return the contrast of the projections of two views of a batch's cells."""
        labels = None if self.positives_at is None else batch["labels"][:, self.positives_at]
        return self.contrast(first_nd, second_nd, batch["soma_joinid"], labels)

    def correct(self, batch: TensorBatch, output: WcedOutput) -> dict[str, Term]:
        """Return the accuracy of each classifying head, by `<column>_accuracy`."""
        return {
            f"{head.column}_accuracy": loss.correct(output.label_logits[head.column], self._truth(batch, head.column))
            for head, loss in zip(self.section.label_heads, self.label_losses, strict=True)
            if head.loss != "mse"
        }

    def _truth(self, batch: TensorBatch, column: str) -> Tensor:
        kind, index = self.truth_at[column]
        return batch[kind][:, index]


def _label_loss(
    head: LabelHead, leaf_targets: Mapping[str, LeafTargets], standard: Mapping[str, tuple[float, float]]
) -> nn.Module:
    if head.loss == "hierarchical":
        return HierarchicalCrossEntropy(leaf_targets[head.column], head.residual_weight or 0.0)
    if head.loss == "mse":
        return NumberLoss(*standard[head.column])
    return FlatLabelLoss(head.focal_gamma if head.loss == "focal" else 0.0)

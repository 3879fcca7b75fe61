"""The objectives of a checkpoint put together: which losses a batch has, and what each weighs at a step."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from wced.config.pretraining import Checkpoint, Expression, LabelHead
from wced.model import WcedOutput
from wced.objectives import (
    Contrast,
    FlatLabelLoss,
    HierarchicalCrossEntropy,
    LeafTargets,
    NumberLoss,
    Term,
    hidden_gene_term,
    masked_position_terms,
    whole_cell_terms,
)
from wced.shards.batches import TensorBatch


class Losses(nn.Module):
    """All losses of a checkpoint by name: `wced_detection`, `mlm_value`, …, and the column of each label head.

    The metrics of training and validation are these losses as they are trained on: with `value_scale: gene_std`,
    `wced_value` and `mlm_value` are of scaled errors, and early stopping looks at those. Gene errors are never scaled.
    """

    def __init__(
        self,
        section: Checkpoint,
        *,
        measured_dv: np.ndarray,
        label_columns: Sequence[str],
        number_columns: Sequence[str],
        leaf_targets: Mapping[str, LeafTargets],
        standard: Mapping[str, tuple[float, float]],
        related_cc: np.ndarray | None = None,
        value_scale_g: np.ndarray | None = None,
    ) -> None:
        """Make them.

        Parameters
        ----------
        section
            Which objectives, with their weights and schedules.
        measured_dv
            bool, datasets × genes.
        label_columns, number_columns
            What the columns of a batch's `labels` and `numbers` are.
        leaf_targets
            By column of a hierarchical head: the leaves that each class stands for.
        standard
            By column of a head of numbers: their mean and standard deviation in training cells.
        related_cc
            bool, classes × classes of the column `contrast.positives`: whose cells are positives of each other.
        value_scale_g
            float32: what errors of each gene's values are divided by, where the section scales them.
        """
        super().__init__()
        self.section = section
        self.register_buffer("measured_dv", torch.from_numpy(measured_dv), persistent=False)
        scale_g = None if value_scale_g is None else torch.from_numpy(value_scale_g)
        # Of all training cells, so it is kept in the training state where it is used.
        scales = any(part is not None and part.value_scale == "gene_std" for part in (section.wced, section.mlm))
        self.register_buffer("value_scale_g", scale_g, persistent=scales)
        self.columns = {head.column: _place(head, label_columns, number_columns) for head in section.label_heads}
        self.label_losses = nn.ModuleList(_label_loss(head, leaf_targets, standard) for head in section.label_heads)
        self._scheduled = []  # name, weight, schedule
        if section.wced is not None:
            part = section.wced
            self._scheduled += [
                ("wced_detection", part.detection_weight, part.schedule),
                ("wced_value", part.value_weight, part.schedule),
            ]
        if section.mlm is not None:
            part = section.mlm
            self._scheduled += [
                ("mlm_detection", part.detection_weight, part.schedule),
                ("mlm_value", part.value_weight, part.schedule),
            ]
            if part.hide_genes:
                self._scheduled.append(("mlm_gene", part.gene_weight, part.schedule))
        self.contrast, self.positives_at = None, None
        if section.contrast is not None:
            self.contrast = Contrast(section.contrast.temperature, related_cc)
            self._scheduled.append(("contrast", section.contrast.weight, section.contrast.schedule))
            if section.contrast.positives is not None:
                self.positives_at = list(label_columns).index(section.contrast.positives)
        self._scheduled += [(head.column, head.weight, head.schedule) for head in section.label_heads]

    @property
    def names(self) -> list[str]:
        """Names of all losses, in order."""
        return [name for name, _, _ in self._scheduled]

    def weights(self, epochs: float | None = None) -> dict[str, float]:
        """Return the weight of each loss after so many epochs; None for the full ones, whatever the schedule."""
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
        """Return every loss of a batch, by name."""
        found: dict[str, Term] = {}
        if self.section.wced is not None:
            found["wced_detection"], found["wced_value"] = whole_cell_terms(
                output.detection_logits, output.values, batch["target_row"], batch["target_gene"],
                batch["target_value"], self.measured(batch), self.section.wced.value_loss,
                self._scale(self.section.wced, batch["target_gene"]),
            )  # fmt: skip
        if self.section.mlm is not None:
            found["mlm_detection"], found["mlm_value"] = masked_position_terms(
                output.position_logits, output.position_values, _at(batch, "position_target", "masked_at"),
                self.section.mlm.value_loss, self._scale(self.section.mlm, _at(batch, "gene", "masked_at")),
            )  # fmt: skip
            if self.section.mlm.hide_genes:
                found["mlm_gene"] = hidden_gene_term(output.gene_logits, _at(batch, "gene", "gene_masked_at"))
        for head, loss in zip(self.section.label_heads, self.label_losses, strict=True):
            found[head.column] = loss(output.label_logits[head.column], self._truth(batch, head.column))
        return found

    def contrasted(self, batch: TensorBatch, first_nd: torch.Tensor, second_nd: torch.Tensor) -> Term:
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

    def measured(self, batch: TensorBatch) -> torch.Tensor:
        """Return which genes the dataset of each cell measured; bool, cells × genes."""
        return self.measured_dv[batch["dataset"].long()]

    def _scale(self, part: Expression, gene: torch.Tensor) -> torch.Tensor | float:
        """Return what the errors of values of some genes are divided by."""
        return self.value_scale_g[gene.long()] if part.value_scale == "gene_std" else 1.0

    def _truth(self, batch: TensorBatch, column: str) -> torch.Tensor:
        kind, place = self.columns[column]
        return batch[kind][:, place]


def _at(batch: TensorBatch, name: str, places: str) -> torch.Tensor:
    return batch[name].flatten()[batch[places]]


def _place(head: LabelHead, label_columns: Sequence[str], number_columns: Sequence[str]) -> tuple[str, int]:
    if head.loss == "mse":
        return "numbers", list(number_columns).index(head.column)
    return "labels", list(label_columns).index(head.column)


def _label_loss(
    head: LabelHead, leaf_targets: Mapping[str, LeafTargets], standard: Mapping[str, tuple[float, float]]
) -> nn.Module:
    if head.loss == "hierarchical":
        return HierarchicalCrossEntropy(leaf_targets[head.column], head.residual_weight or 0.0)
    if head.loss == "mse":
        return NumberLoss(*standard[head.column])
    return FlatLabelLoss(head.focal_gamma if head.loss == "focal" else 0.0)

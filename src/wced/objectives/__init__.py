"""Losses, one module each: expression decoding, hierarchical cross-entropy, flat classification, and their sum."""

from wced.objectives.classification import FlatLabelLoss
from wced.objectives.combination import weighted_mean
from wced.objectives.expression import ExpressionLosses, masked_position_losses, whole_cell_losses
from wced.objectives.hierarchical import HierarchicalCrossEntropy

__all__ = [
    "ExpressionLosses",
    "FlatLabelLoss",
    "HierarchicalCrossEntropy",
    "masked_position_losses",
    "weighted_mean",
    "whole_cell_losses",
]

"""Losses, one module each, and their sum. Every one is a `Term`: a total and what it is divided by."""

from wced.objectives.classification import FlatLabelLoss
from wced.objectives.combination import weighted_mean
from wced.objectives.contrast import Contrast
from wced.objectives.expression import hidden_gene_term, masked_position_terms, whole_cell_terms
from wced.objectives.hierarchical import HierarchicalCrossEntropy, LeafTargets
from wced.objectives.regression import NumberLoss
from wced.objectives.term import Term

__all__ = [
    "Contrast",
    "FlatLabelLoss",
    "HierarchicalCrossEntropy",
    "LeafTargets",
    "NumberLoss",
    "Term",
    "hidden_gene_term",
    "masked_position_terms",
    "weighted_mean",
    "whole_cell_terms",
]

"""Which genes a model learns to predict, from the errors that pretraining measured.

::

    gene errors of each epoch ───► genes ───► models ──┬──► absolute ────┐
    genes that the input leaves out ──┘         ▲      ├──► enrichment ──┼──► analysis ──► figures, report
    families and programs of genes ───┘         │      └──► agreement ───┘
    their sums by validation block ─► confidence, trend

`absolute`: which genes and families beat the null; `trend`: which are easier than their sparsity says, the winners;
`enrichment`: which programs and families winners are of; `agreement`: whether two models have the same winners.
"""

FORMAT_VERSION = 5
"""Raised when a table changes its meaning; it makes the rules run again."""

"""Which genes a model learns to predict, from the errors that pretraining measured.

::

    gene errors, genes left out, families ─► genes ─► models ─┬─► absolute ───┐
    sums by validation block ────────────► confidence ──┤     ├─► enrichment ─┼─► analysis ─► figures, report
                                           trend: Z ────┘     └─► agreement ──┘

`absolute`: which genes and families beat the null; `trend`: which are easier than their sparsity says, the winners;
`enrichment`: which programs and families winners are of; `agreement`: whether two models have the same winners.
"""

FORMAT_VERSION = 5
"""Raised when a table changes its meaning; it makes the rules run again."""

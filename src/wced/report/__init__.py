"""The report of a run.

From the folder of a run to its pages, which load nothing from a network::

    tables, provenance ── records ──┐
    scores ── pivots, uses ─────────┼── page ────── pages ── report/index.html
    embeddings, metrics ── figures ─┘                 │
    analysis of genes ── genes ───────────────────────┴───── report/genes.html

`pages` has the templates and the engine that both pages share.
"""

FORMAT_VERSION = 4
"""Raised when a figure or the page changes, so that the rules run again."""

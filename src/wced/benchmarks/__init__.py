"""The benchmarks: scores of embeddings, by the same metrics for every model.

::

    embedding (h5ad) ──► neighbours ──► <task>/score.py ──► table of scores ──► comparison/, ablation/ ──► report
    annotation, model, counts ─────────────┘   └──► <task>/figures.py

A benchmark is one folder, named as its key in the config: `__init__.py` has the section (`SECTION`), `TITLE` and
`METRICS`, and imports little, as configs are read with it; `score.py` has `score(job)`. What several of them share lies
beside the folders.
"""

FORMAT_VERSION = 3
"""Raised when a score changes its meaning; it makes the rules run again."""

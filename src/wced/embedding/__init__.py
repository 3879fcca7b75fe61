"""Embeddings of cells by checkpoints and by baselines, and what else a checkpoint says of cells.

::

    raw counts ──► inputs ──► inference ──► pooling ──┐
    (AnnData)      genes,     batches,      readouts  ├──► files ──► benchmarks, report
                   counts     encoder ─► annotation   │    (h5ad)    (with the words of `leakage`)
                                      ─► attribution  │
    raw counts ──► baselines ─────────────────────────┤
    checkpoint ──► gene_vectors ──────────────────────┤
    h5ad from elsewhere ──────────────────────────────┘

`leakage` looks for the embedded cells in the corpus that the checkpoints were trained on.
"""

FORMAT_VERSION = 5

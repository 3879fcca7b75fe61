"""What a gene does (family) and how it is regulated (program), from databases and before any model output.

::

    files of databases ──► references ──► go ──────────┐
    gene table ──► universe, which keeps what each     ├──► families ──► table ──► gene_annotation
                   source says of its genes            │       ▲
                             expression (HPA) ─────────┤       │
                             transcription_factors ────┴───────┘
"""

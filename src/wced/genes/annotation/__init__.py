"""What a gene does (family) and how it is regulated (program), from databases and before any model output.

::

    files of databases, gene table ──► references: files, and what each says of which genes
        ├─► go: terms ───────────────────────────┐
        ├─► transcription_factors: superclasses ─┼─► table: family, program, sources and sizes of groups
        └─► expression: specificity, breadth ────┘
"""

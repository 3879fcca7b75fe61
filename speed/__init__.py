"""Measurements of speed and time to quality, each beside its peers on the same cells.

    python -m speed throughput   generate ── run ── child (a process for each system) ── works, loaders
    python -m speed steps        generate ── steps ── flops
    python -m speed selection    selection
    python -m speed speedrun     speedrun_training ── speedrun_scores ── speedrun

`page` writes the first two tables into docs/throughput.md and docs/speed.md. Nothing here is installed with `wced`.
"""

"""Scores of embeddings; one module per task, each with `TITLE`, `METRICS` and `score(job)`."""

FORMAT_VERSION = 3
"""Raised when a score changes its meaning; it makes the rules run again."""

"""Scores of embeddings; one module per task, each with one public function `score`."""

FORMAT_VERSION = 1
"""Raised when a score changes its meaning; it makes the rules run again."""

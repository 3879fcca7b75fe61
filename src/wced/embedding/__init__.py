"""Embeddings of cells by checkpoints and baselines."""

FORMAT_VERSION = 5

"""Which genes a model learns to predict, from the errors that pretraining measured."""

FORMAT_VERSION = 5
"""Raised when a table changes its meaning; it makes the rules run again."""

"""Whole-cell expression decoding: pretraining and understanding transcriptomic foundation models."""

__version__ = "0.1.0"

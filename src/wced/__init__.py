"""Whole-cell expression decoding: pretraining and understanding transcriptomic foundation models."""

__version__ = "0.1.0"

from wced import tl

__all__ = ["__version__", "tl"]

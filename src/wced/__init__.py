"""Whole-cell expression decoding: pretraining and understanding transcriptomic foundation models."""

__version__ = "0.1.0"

from wced import caches

caches.prepare()  # before anything imports Numba or Matplotlib

from wced import tl  # noqa: E402

__all__ = ["__version__", "tl"]

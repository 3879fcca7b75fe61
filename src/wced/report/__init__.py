"""The page that shows a run, its figures, and the table of how long everything took."""

FORMAT_VERSION = 3
"""Raised when a figure or the page changes; it makes the rules run again."""

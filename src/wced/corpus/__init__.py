"""From archives to selected cells: harmonised datasets, a local Census, cells.parquet."""

FORMAT_VERSION = 3
"""Version of everything this room writes; raising it makes the room's rules run again."""

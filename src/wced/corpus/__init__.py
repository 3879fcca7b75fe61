"""From published files to the selected cells of a run.

::

    download      archives of the package index, pinned by their SHA-256
       │
    harmonise     a dataset in the CELLxGENE schema (h5ad), as its row in `datasets` says: `reading` opens files,
       │          `published` checks counts, `annotation` makes obs with the ontologies' `terms`
    build         a local TileDB-SOMA collection with the layout of the Census
       │
    census        that collection or a remote one; `remote` reads again what failed
       │
    cells         reads `obs`, then `quality`, `sampling` and `split`: cells.parquet, and a table of each step
"""

FORMAT_VERSION = 3
"""Version of everything this room writes; raising it makes the room's rules run again."""

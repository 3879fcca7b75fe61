"""From published files to the selected cells of a run.

download      archives of the package index, pinned by their SHA-256
   │
harmonise     one h5ad per dataset in the CELLxGENE schema; `datasets` says how, `reading` opens the files,
   │          `annotation` and `terms` make obs, log1p values become counts again (`log1p`)
build         a local TileDB-SOMA collection with the layout of the Census
   │
census        that collection, or a remote one: `remote` reads again what failed, `obs` in few bytes a cell
   │
cells         `quality`, then `sampling`, then `split` (by `units`): cells.parquet and the tables of each step
"""

FORMAT_VERSION = 3
"""Version of everything this room writes; raising it makes the room's rules run again."""

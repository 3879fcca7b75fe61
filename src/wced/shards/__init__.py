"""From the selected cells of a Census to batches of sequences.

::

    cells.parquet ──► vocabulary ──► write ──────► shard-*.arrow ──► reader ──┐
    Census            genes, labels  reads X by    Arrow files that           ├─► batches ──► tensors
                                     `counts`      memory-map                 │   epochs: which cells in which step
        └────────────────────────────────────────────────────────► stream ────┘   encode: which genes and values

Shards and the Census itself are a `cells.CellSource` and give the same batches. Everything random about a cell is a
function of seed, epoch and soma_joinid (`counter_random`), whatever the number of workers, ranks or restarts.
Loops over cells and genes are compiled: `kernels`, `reduction`, `mapped`.
"""

FORMAT_VERSION = 3

"""Memory-mapped Arrow shards of raw counts, and the batches that are made from them."""

FORMAT_VERSION = 3

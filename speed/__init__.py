"""Throughput of the batches, measured beside other loaders on the same cells in the same run."""

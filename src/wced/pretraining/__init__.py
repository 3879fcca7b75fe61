"""Pretraining: shards, model and objectives put together, and the checkpoint folder that comes out."""

FORMAT_VERSION = 5

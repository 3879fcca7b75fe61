"""Pretraining: from shards to a checkpoint folder.

launch         one process per device
train          one checkpoint from beginning to end, in this order:
  build          a section and shards ──► model, batches of training, losses
  start          initialises the model from statistics of the training cells (gene_statistics)
  module         steps, learning rates and metrics, with the losses of all objectives (losses)
  callbacks      gene errors of each validation (gene_errors), saving (state), progress
  card           README.md of the folder
"""

FORMAT_VERSION = 5

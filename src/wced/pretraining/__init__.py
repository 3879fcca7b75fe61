"""Pretraining: from shards to a checkpoint folder.

`launch` starts one process per device; in each of them `train` goes from beginning to end::

    build        section and shards ──► model, batches, losses
    start        model ──► the same, initialised from statistics of the training cells (gene_statistics)
    module       batches ──► steps and metrics, by the losses of all objectives (losses)
    callbacks    validations ──► gene errors (gene_errors); training state (state); progress
    card         README.md of the folder
"""

FORMAT_VERSION = 5

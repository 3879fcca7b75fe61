"""Teach a pretrained checkpoint a column of labels of an AnnData.

::

    AnnData ──► embedding.inputs ──► split ──► source ──┐
                counts               train,    batches  ├──► train ──► result ──► checkpoint folder,
                                     test               │    best      card       metrics, predictions
    checkpoint ──► model ───────────────────────────────┘    epoch
                   new head, what is trained
"""

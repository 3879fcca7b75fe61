"""The words that say which vectors an embedding is read from, and whether a loss trains these."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BATCH = "-batch"
"""End of a word whose vectors are centred in each batch of the dataset."""


@dataclass(frozen=True)
class Word:
    """One word of a readout, such as `cls`, `cls:1`, `mean@2`, `head:donor_id` or `cls-batch`."""

    text: str
    """The word as it was written."""
    cls: int | None = None
    """Index of the CLS position; None for the mean over genes and for heads."""
    head: str | None = None
    """Column of the label head whose hidden layer is read; None for no head."""
    block: int | None = None
    """Number of the block, from 1, after which it is read; None for the end of the encoder."""
    centred: bool = False
    """Whether the mean of the cell's batch is subtracted."""

    def trained(self, losses: Mapping[str, str]) -> bool:
        """Return whether one of the `losses` (`wced.config.pretraining.Checkpoint.losses`) trains these vectors.

        At the end of the encoder a loss trains only the vectors that it reads. Before the last block it trains those of
        all positions, because later blocks attend to them.
        """
        if self.block is not None:
            return bool(losses)
        if self.head is not None:
            return self.head in losses
        return ("mean" if self.cls is None else cls_word(self.cls)) in losses.values()


def cls_word(position: int) -> str:
    """Return the word for the CLS position of an index."""
    return f"cls:{position}" if position else "cls"


def parse(text: str, *, cls_positions: int, layers: int, heads: Iterable[str]) -> Word:
    """Return a word from `cls`, `cls:INDEX`, `mean` or `head:COLUMN`, with `@BLOCK` (not for heads) and `-batch`.

    The model has `cls_positions`, `layers` and label `heads` of these columns. `wced.embedding.pooling.Pooling` defines
    what the words mean.

    Raises
    ------
    ValueError
        If the model has no such vectors; the message lists those that it has.
    """
    heads = list(heads)
    for centred in (False, True):  # a column may itself end in -batch
        for column in heads:
            if text == f"head:{column}{BATCH if centred else ''}":
                return Word(text, head=column, centred=centred)
    match = re.fullmatch(rf"(cls|mean)(?::(\d+))?(?:@(\d+))?({BATCH})?", text)
    if match is not None:
        kind, index, block, ending = match.groups()
        position = int(index or 0) if kind == "cls" else None
        exists = index is None if position is None else position < cls_positions
        if exists and (block is None or 1 <= int(block) < layers):
            return Word(text, cls=position, block=block and int(block), centred=ending is not None)
    known = [*(cls_word(i) for i in range(cls_positions)), "mean", *(f"head:{column}" for column in heads)]
    blocks = {1: "", 2: "; cls and mean may end in @1"}.get(layers, f"; cls and mean may end in @1 to @{layers - 1}")
    raise ValueError(f"{text} is none of those that this model has: {', '.join(known)}{blocks}; all may end in {BATCH}")

"""The words that say what a cell's embedding is read from, and whether a loss trains what they read."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BATCH = "-batch"
"""Ending of a word whose vectors are centred in each batch of the dataset."""


@dataclass(frozen=True)
class Word:
    """One word of a readout, e.g. `cls`, `cls:1`, `mean@2`, `head:donor_id` or `cls-batch`."""

    text: str
    """The word as it was written."""
    cls: int | None = None
    """Index of the CLS position that is read; None for the mean over genes and for heads."""
    head: str | None = None
    """Column of the label head whose hidden layer is read; None for no head."""
    block: int | None = None
    """Number of the block, from 1, after which it is read; None for the end of the encoder."""
    centred: bool = False
    """Whether the mean of the cell's batch is subtracted."""

    def trained(self, losses: Mapping[str, str]) -> bool:
        """Return whether a loss trains what is read here.

        At the end of the encoder a loss trains only the vectors that it reads. Before the last block it trains those of
        all positions, because later blocks attend to them.

        Parameters
        ----------
        losses
            Where each loss reads, by its name: `wced.config.pretraining.Checkpoint.losses`.
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
    """Read a word.

    Parameters
    ----------
    text
        `cls`, `cls:INDEX`, `mean` or `head:COLUMN`; the first three may be followed by `@BLOCK`, and each by `-batch`.
        `wced.embedding.pooling.Pooling` says what they mean.
    cls_positions, layers, heads
        Of the model: number of CLS positions, number of blocks, and columns of its label heads.

    Raises
    ------
    ValueError
        If the model has no such readout; the message lists those that it has.
    """
    heads = list(heads)
    for centred in (False, True):  # a column may itself end in -batch
        for column in heads:
            if text == f"head:{column}{BATCH if centred else ''}":
                return Word(text, head=column, centred=centred)
    parts = re.fullmatch(rf"(cls|mean)(?::(\d+))?(?:@(\d+))?({BATCH})?", text)
    if parts is not None:
        kind, index, block, ending = parts.groups()
        position = int(index or 0) if kind == "cls" else None
        exists = index is None if position is None else position < cls_positions
        if exists and (block is None or 1 <= int(block) < layers):
            return Word(text, cls=position, block=block and int(block), centred=ending is not None)
    known = [*(cls_word(i) for i in range(cls_positions)), "mean", *(f"head:{column}" for column in heads)]
    blocks = {1: "", 2: "; cls and mean may end in @1"}.get(layers, f"; cls and mean may end in @1 to @{layers - 1}")
    raise ValueError(f"{text} is none of those that this model has: {', '.join(known)}{blocks}; all may end in {BATCH}")


def check(
    words: Sequence[str], losses: Mapping[str, str] | None, *, cls_positions: int, layers: int, heads: Iterable[str]
) -> None:
    """Raise ValueError for the first word that the model does not have, or that none of its losses trains.

    Parameters
    ----------
    words
        What is read.
    losses
        Where each loss reads; None if untrained vectors may be read.
    cls_positions, layers, heads
        As in `parse`.
    """
    for text in words:
        word = parse(text, cls_positions=cls_positions, layers=layers, heads=heads)
        if losses is not None and not word.trained(losses):
            trained = ", ".join(dict.fromkeys(losses.values())) or "nothing"
            raise ValueError(
                f"no loss trains {text}; the losses of this checkpoint read {trained}. Read that, or set "
                "allow_untrained: true beside it, and its scores are marked"
            )

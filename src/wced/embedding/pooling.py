"""How a cell's embedding is made of the encoder's output: one vector per CLS position and per gene."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from wced.config.readout import Word, parse
from wced.embedding.baselines import LEAKAGE_BATCH
from wced.errors import WcedError
from wced.model import WcedModel


class _Part(NamedTuple):
    """What one word reads."""

    word: Word
    position: int | None
    """CLS position; None for the mean over the genes."""
    layer: nn.Module | None
    """What is applied to the vector; None for nothing."""
    width: int


class Pooling:
    """One or several of these words, whose vectors are put side by side in the order of the words.

    - `cls`, `cls:2`: the first CLS position, from which expression is decoded, or that of an index, counted from 0;
    - `mean`: the mean over the positions of genes; zeros for a cell without any;
    - `head:COLUMN`: the hidden layer of the label head of that column, a pooler that was trained to tell these labels;
    - `cls@3`, `cls:2@3`, `mean@3`: the same after the third block of the encoder, before any norm that follows;
    - `cls-batch`, … (behind any of these): minus its mean over the cells of the same batch, obs `batch`.
    """

    def __init__(self, words: str | Sequence[str] | None, model: WcedModel) -> None:
        """Check the words against a model (None: its own readout); raise WcedError for one that it does not know."""
        if words is None:
            words = model.config.readout
        self._model, config = model, model.config
        heads = {spec["column"]: (spec, head) for spec, head in zip(config.label_heads, model.label_heads, strict=True)}
        shape = {"cls_positions": config.cls_positions, "layers": config.num_hidden_layers, "heads": heads}
        self._parts = []
        for text in (words,) if isinstance(words, str) else words:
            try:
                word = parse(text, **shape)
            except ValueError as failure:
                raise WcedError(f"pooling: {failure}") from None
            position, layer, width = word.cls, None, config.hidden_size
            if word.head is not None:
                spec, head = heads[word.head]
                position, layer = spec.get("cls_position", 0), nn.Sequential(*list(head)[:-1])
                width = layer[0].out_features
            self._parts.append(_Part(word, position, layer, width))
        if not self._parts:
            raise WcedError("pooling: no word is given")

    @property
    def untrained(self) -> list[str]:
        """The words that read what no loss of the model trained; none if the model does not know its losses."""
        losses = self._model.config.losses
        return [] if losses is None else [part.word.text for part in self._parts if not part.word.trained(losses)]

    @property
    def name(self) -> str:
        """The words with `+` between them, and `(untrained)` behind those that no loss trained."""
        texts, untrained = [part.word.text for part in self._parts], self.untrained
        return "+".join(f"{text} (untrained)" if text in untrained else text for text in texts)

    def leakage(self, seen: str) -> str:
        """Return the text of the column `leakage` of every score of the embedding.

        Before `seen`, what the model may have seen of the cells, come notes on words that no loss trained, or that are
        centred by the batches of the scored cells.
        """
        notes = [f"{text}: untrained, no loss reads it" for text in self.untrained]
        notes += [f"{part.word.text}: {LEAKAGE_BATCH}" for part in self._parts if part.word.centred]
        return "; ".join(dict.fromkeys([*notes, seen]))

    @property
    def blocks(self) -> set[int]:
        """Numbers of the blocks, from 1, whose output is read."""
        return {part.word.block for part in self._parts if part.word.block is not None}

    @property
    def cls_only(self) -> bool:
        """Whether no word needs the positions of genes at the end of the encoder."""
        return all(part.word.block is not None or part.position is not None for part in self._parts)

    @property
    def width(self) -> int:
        """Dimensions of the embedding."""
        return sum(part.width for part in self._parts)

    @property
    def n_params(self) -> int:
        """Number of parameters that make the embedding: the encoder's (all its blocks), and those of heads."""
        layers = {part.word.head: part.layer for part in self._parts if part.layer is not None}
        return self._model.encoder_parameters + sum(p.numel() for layer in layers.values() for p in layer.parameters())

    def __call__(
        self, hidden_nld: torch.Tensor, length_n: torch.Tensor, after: Mapping[int, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the embeddings before any centring, cells × `width`, float32.

        `hidden_nld` is the output of `WcedModel.encode`: k CLS positions, then `length_n` genes (which may be left out
        if `cls_only`); `after` is the output of each of `blocks`, with all positions.
        """
        vectors, k = [], self._model.config.cls_positions
        for part in self._parts:
            states_nld = hidden_nld if part.word.block is None else after[part.word.block]
            vector = _mean(states_nld[:, k:], length_n) if part.position is None else states_nld[:, part.position]
            vectors.append((vector if part.layer is None else part.layer(vector)).float())
        return torch.cat(vectors, dim=1)

    def batches(self, obs: pd.DataFrame | None) -> np.ndarray | None:
        """Return the batch of each cell, `obs.batch` as text; None if no word is centred.

        WcedError is raised if a word needs batches, and there is no obs or it has no column `batch`.
        """
        centred = [part.word.text for part in self._parts if part.word.centred]
        if not centred:
            return None
        if obs is None or "batch" not in obs:
            raise WcedError(f"pooling: {centred[0]} needs the batch of each cell, but obs has no column batch")
        return obs["batch"].astype(str).to_numpy()

    def centred(self, embedding_nd: np.ndarray, batch_n: np.ndarray) -> np.ndarray:
        """Return embeddings of which words in `-batch` have lost their mean over the cells of each batch."""
        centred_d = np.repeat([part.word.centred for part in self._parts], [part.width for part in self._parts])
        plain_nd = pd.DataFrame(embedding_nd[:, centred_d].astype(np.float64))
        embedding_nd = embedding_nd.copy()
        embedding_nd[:, centred_d] = plain_nd - plain_nd.groupby(batch_n).transform("mean")
        return embedding_nd


def _mean(gene_nld: torch.Tensor, length_n: torch.Tensor) -> torch.Tensor:
    present_nl = torch.arange(gene_nld.shape[1], device=gene_nld.device) < length_n[:, None]
    return (gene_nld.float() * present_nl[:, :, None]).sum(dim=1) / length_n[:, None].clamp(min=1)

"""How a cell's embedding is made of what the encoder gives: one vector per CLS position and per gene."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from wced.config.readout import Word, parse
from wced.embedding.baselines import LEAKAGE_BATCH
from wced.errors import WcedError
from wced.model import WcedModel


class Pooling:
    """One or several of these words, whose vectors then stand side by side in the order of the words.

    `cls`
        The first CLS position, from which expression is decoded.
    `cls:2`
        The CLS position of that index, counted from 0.
    `mean`
        The mean over the positions of genes; of a cell without any, zeros.
    `head:COLUMN`
        The hidden layer of the label head of that column: a pooler that was trained to tell these labels.
    `cls@3`, `cls:2@3`, `mean@3`
        The same after the third block of the encoder, before any norm that follows, instead of at its end.
    `cls-batch`, … (behind any of these)
        Minus its mean over the cells of the same batch: obs `batch` of the cells that are embedded.
    """

    def __init__(self, words: str | Sequence[str] | None, model: WcedModel) -> None:
        """Check the words against a model (None: its own readout); raise WcedError for one that it does not know."""
        if words is None:
            words = model.config.readout
        self._model, config = model, model.config
        heads = {spec["column"]: head for spec, head in zip(config.label_heads, model.label_heads, strict=True)}
        shape = {"cls_positions": config.cls_positions, "layers": config.num_hidden_layers, "heads": heads}
        try:
            self.words = [parse(word, **shape) for word in ((words,) if isinstance(words, str) else words)]
        except ValueError as failure:
            raise WcedError(f"pooling: {failure}") from None
        if not self.words:
            raise WcedError("pooling: no word is given")
        read_by = {spec["column"]: spec.get("cls_position", 0) for spec in config.label_heads}
        self._parts = [self._part(word, read_by, heads) for word in self.words]

    @staticmethod
    def _part(
        word: Word, read_by: Mapping[str, int], heads: Mapping[str, nn.Module]
    ) -> tuple[int | None, nn.Module | None]:
        """Return the CLS position that a word reads (None: the genes) and what is applied to it (None: nothing)."""
        if word.head is None:
            return word.cls, None
        return read_by[word.head], nn.Sequential(*list(heads[word.head])[:-1])

    @property
    def untrained(self) -> list[str]:
        """The words that read what no loss of the model trained; none where the model does not know its losses."""
        losses = self._model.config.losses
        return [] if losses is None else [word.text for word in self.words if not word.trained(losses)]

    @property
    def name(self) -> str:
        """The words with `+` between them, and `(untrained)` behind those that no loss trained."""
        untrained = self.untrained
        return "+".join(f"{word.text} (untrained)" if word.text in untrained else word.text for word in self.words)

    def leakage(self, seen: str) -> str:
        """Return what stands beside every score of the embedding, in the column `leakage`.

        Parameters
        ----------
        seen
            What the model may have seen of the cells. Before it stands what makes the readout no plain one: that no
            loss trained it, or that it is centred by the batches of the scored cells.
        """
        notes = [f"{word}: untrained, no loss reads it" for word in self.untrained]
        notes += [f"{word.text}: {LEAKAGE_BATCH}" for word in self.words if word.centred]
        return "; ".join(dict.fromkeys([*notes, seen]))

    @property
    def blocks(self) -> set[int]:
        """Numbers of the blocks, from 1, whose output is read."""
        return {word.block for word in self.words if word.block is not None}

    @property
    def cls_only(self) -> bool:
        """Whether no word needs the positions of genes at the end of the encoder."""
        parts = zip(self.words, self._parts, strict=True)
        return all(word.block is not None or position is not None for word, (position, _) in parts)

    @property
    def widths(self) -> list[int]:
        """Dimensions of each word."""
        return [self._model.config.hidden_size if made is None else made[0].out_features for _, made in self._parts]

    @property
    def width(self) -> int:
        """Dimensions of the embedding."""
        return sum(self.widths)

    @property
    def n_params(self) -> int:
        """Number of parameters that make the embedding: the encoder's (all its blocks), and those of heads."""
        heads = {word.head: made for word, (_, made) in zip(self.words, self._parts, strict=True) if made is not None}
        return self._model.encoder_parameters + sum(p.numel() for head in heads.values() for p in head.parameters())

    def __call__(
        self, hidden_nld: torch.Tensor, length_n: torch.Tensor, after: Mapping[int, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return the embeddings before any centring, cells × `width`, float32.

        Parameters
        ----------
        hidden_nld
            What `WcedModel.encode` gave: k CLS positions, then genes (which may be left out if `cls_only`).
        length_n
            Positions of genes that are there.
        after
            The same after each of `blocks`, with all positions.
        """
        vectors = []
        for word, (position, made) in zip(self.words, self._parts, strict=True):
            states_nld = hidden_nld if word.block is None else after[word.block]
            vector = self._mean(states_nld, length_n) if position is None else states_nld[:, position]
            vectors.append((vector if made is None else made(vector)).float())
        return torch.cat(vectors, dim=1)

    def _mean(self, hidden_nld: torch.Tensor, length_n: torch.Tensor) -> torch.Tensor:
        gene_nld = hidden_nld[:, self._model.config.cls_positions :].float()
        there_nl = torch.arange(gene_nld.shape[1], device=gene_nld.device) < length_n[:, None]
        return (gene_nld * there_nl[:, :, None]).sum(dim=1) / length_n[:, None].clamp(min=1)

    def batches(self, obs: pd.DataFrame | None) -> np.ndarray | None:
        """Return the batch of each cell, `obs.batch` as text; None where no word is centred.

        Raises
        ------
        WcedError
            If a word needs batches, and there is no obs or it has no column `batch`.
        """
        word = next((word.text for word in self.words if word.centred), None)
        if word is None:
            return None
        if obs is None or "batch" not in obs:
            raise WcedError(f"pooling: {word} needs the batch of each cell, but obs has no column batch")
        return obs["batch"].astype(str).to_numpy()

    def centred(self, embedding_nd: np.ndarray, batch_n: np.ndarray) -> np.ndarray:
        """Return the embeddings of all cells, those of words in `-batch` minus their mean over the cells of a batch."""
        chosen_d = np.repeat([word.centred for word in self.words], self.widths)
        plain_nd = pd.DataFrame(embedding_nd[:, chosen_d].astype(np.float64))
        embedding_nd = embedding_nd.copy()
        embedding_nd[:, chosen_d] = plain_nd - plain_nd.groupby(batch_n).transform("mean")
        return embedding_nd

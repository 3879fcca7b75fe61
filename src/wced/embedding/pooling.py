"""How a cell's embedding is made of what the encoder gives: one vector per CLS position and per gene."""

from collections.abc import Sequence

import torch
from torch import nn

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
    """

    def __init__(self, words: str | Sequence[str], model: WcedModel) -> None:
        """Check the words against a model; raise WcedError for one that it does not know."""
        self.words = (words,) if isinstance(words, str) else tuple(words)
        if not self.words:
            raise WcedError("pooling: no word is given")
        self._model = model
        self._parts = [self._part(word) for word in self.words]

    def _part(self, word: str) -> tuple[int | None, nn.Module | None]:
        """Return the CLS position that a word reads (None: the genes) and what is applied to it (None: nothing)."""
        config = self._model.config
        kind, _, what = word.partition(":")
        if word == "cls" or (kind == "cls" and what.isdecimal() and int(what) < config.cls_positions):
            return int(what or 0), None
        if word == "mean":
            return None, None
        for spec, head in zip(config.label_heads, self._model.label_heads, strict=True):
            if word == f"head:{spec['column']}":
                return spec.get("cls_position", 0), nn.Sequential(*list(head)[:-1])
        known = ["cls", *(f"cls:{i}" for i in range(1, config.cls_positions)), "mean"]
        known += [f"head:{spec['column']}" for spec in config.label_heads]
        raise WcedError(f"pooling: {word} is none of those that this model has: {', '.join(known)}")

    @property
    def name(self) -> str:
        """The words with `+` between them."""
        return "+".join(self.words)

    @property
    def cls_only(self) -> bool:
        """Whether no word needs the positions of genes."""
        return all(position is not None for position, _ in self._parts)

    @property
    def width(self) -> int:
        """Dimensions of the embedding."""
        return sum(self._model.config.hidden_size if made is None else made[0].out_features for _, made in self._parts)

    @property
    def n_params(self) -> int:
        """Number of parameters that make the embedding: the encoder's, and those of heads."""
        heads = {word: made for word, (_, made) in zip(self.words, self._parts, strict=True) if made is not None}
        return self._model.encoder_parameters + sum(p.numel() for head in heads.values() for p in head.parameters())

    def __call__(self, hidden_nld: torch.Tensor, length_n: torch.Tensor) -> torch.Tensor:
        """Return the embeddings, cells × `width`, float32.

        Parameters
        ----------
        hidden_nld
            What `WcedModel.encode` gave: k CLS positions, then genes (which may be left out if `cls_only`).
        length_n
            Positions of genes that are there.
        """
        vectors = []
        for position, made in self._parts:
            vector = self._mean(hidden_nld, length_n) if position is None else hidden_nld[:, position]
            vectors.append((vector if made is None else made(vector)).float())
        return torch.cat(vectors, dim=1)

    def _mean(self, hidden_nld: torch.Tensor, length_n: torch.Tensor) -> torch.Tensor:
        gene_nld = hidden_nld[:, self._model.config.cls_positions :].float()
        there_nl = torch.arange(gene_nld.shape[1], device=gene_nld.device) < length_n[:, None]
        return (gene_nld * there_nl[:, :, None]).sum(dim=1) / length_n[:, None].clamp(min=1)

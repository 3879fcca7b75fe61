"""What a model starts from: the statistics of its training cells, so that no epoch is spent on finding them."""

from itertools import pairwise

import numpy as np
import torch

from wced.config.model import Model
from wced.config.pretraining import Input
from wced.model import WcedModel
from wced.model.modeling import INPUT_STD
from wced.pretraining.gene_statistics import ValueSums
from wced.shards.cells import CellSource
from wced.shards.components import MOST_CELLS, principal_components
from wced.shards.encode import Encoding, encode

_CELLS = 1024
_SLOPE_PRIOR = 10.0
"""Cells that speak for a slope of zero: a gene that hardly any cell expresses has none of its own."""


def depth_scale(shards: CellSource) -> dict[str, float]:
    """Return mean and standard deviation, over the training cells, of the log number of genes that a cell expresses."""
    log_n = np.concatenate(
        [np.log(np.maximum(np.diff(shards.offsets(places)), 1)) for places in _blocks(shards)] or [np.zeros(1)]
    )
    return {"mean": float(log_n.mean()), "std": float(log_n.std()) or 1.0}


@torch.no_grad()
def start_from_statistics(model: WcedModel, shards: CellSource, values: ValueSums, size: Model, seed: int) -> None:
    """Give an untrained model what the training cells say of single genes and, if asked for, of pairs of them.

    The whole-cell decoder's biases become each gene's log-odds of expression and mean value: the null model. If
    decoders are told the depth, their slopes are those of a regression of either on the depth, and the position
    decoder's intercepts become the biases of the whole-cell one. With `size.gene_components`, the vectors of genes
    become their whitened loadings on principal components, turned at random, and as long as drawn ones on average: the
    mean over a cell's genes, which attention begins as, then tells what cells differ by.

    Parameters
    ----------
    model
        Drawn weights; changed in place.
    shards
        The corpus.
    values
        What the values of its training cells add up to.
    size
        Shape of the model.
    seed
        Of the components' iteration and of the turn.
    """
    if size.gene_components:
        _, loading_vk = principal_components(shards, size.gene_components, MOST_CELLS, seed)
        whitened_vk = loading_vk / np.sqrt(np.square(loading_vk).mean())
        generator = torch.Generator().manual_seed(seed)
        turn_dk, _ = torch.linalg.qr(torch.randn(size.hidden_size, size.gene_components, generator=generator))
        scale = INPUT_STD * np.sqrt(size.hidden_size / size.gene_components)
        model.embedding.gene.weight.copy_(scale * torch.from_numpy(whitened_vk) @ turn_dk.T)
    if "wced" in model.config.decoders or model.config.decoder_depth is not None:
        _start_decoders(model, shards, values)


def _start_decoders(model: WcedModel, shards: CellSource, values: ValueSums) -> None:
    rate_g = np.clip(values.n_nonzero_g / np.maximum(values.n_g, 1), 1e-4, 1 - 1e-4)
    logit_g, value_g = np.log(rate_g / (1 - rate_g)), np.nan_to_num(values.mean_g)
    if model.config.decoder_depth is not None:
        depth = _DepthSums(shards, model.config.decoder_depth)
        detection_slope_g, value_slope_g = depth.detection_slope(rate_g), depth.value_slope(value_g)
        for decoder in (model.decoders[name] for name in ("wced", "mlm") if name in model.decoders):
            decoder.depth.copy_(torch.from_numpy(np.stack([detection_slope_g, value_slope_g])))
        logit_g -= detection_slope_g * depth.mean_g
        value_g -= value_slope_g * depth.mean_expressed_g
    if "wced" in model.decoders:
        model.decoders["wced"].detection.bias.copy_(torch.from_numpy(logit_g))
        model.decoders["wced"].value.bias.copy_(torch.from_numpy(value_g))
    if "mlm" in model.decoders and model.config.decoder_depth is not None:
        model.decoders["mlm"].intercept.copy_(torch.from_numpy(np.stack([logit_g, value_g])))


class _DepthSums:
    """Sums over the training cells of the depth z, its square, and its products with expression; by gene."""

    def __init__(self, shards: CellSource, scale: dict[str, float]) -> None:
        genes, datasets = shards.measured_dv.shape[1], len(shards.measured_dv)
        self.expressed_gs = np.zeros((genes, 4))
        """Of the cells that express the gene: their number, Σz, Σz², Σ z x."""
        measured_ds = np.zeros((datasets, 3))
        for places in _blocks(shards):
            batch = encode(shards.views(places), shards.measured_dv, Encoding(Input(length=2)), training=False)
            n = np.diff(batch.target_offsets)
            z_n = (np.log(np.maximum(n, 1)) - scale["mean"]) / scale["std"]
            z_m = np.repeat(z_n, n)
            for k, weight_m in enumerate((None, z_m, z_m**2, z_m * batch.target_value)):
                self.expressed_gs[:, k] += np.bincount(batch.target_gene, weight_m, minlength=genes)
            for k, weight_n in enumerate((None, z_n, z_n**2)):
                measured_ds[:, k] += np.bincount(batch.dataset, weight_n, minlength=datasets)
        self.measured_gs = shards.measured_dv.T.astype(float) @ measured_ds
        """Of the cells whose dataset measured the gene: their number, Σz, Σz²."""

    @property
    def mean_g(self) -> np.ndarray:
        """Mean depth of the cells that measured each gene."""
        return self.measured_gs[:, 1] / np.maximum(self.measured_gs[:, 0], 1)

    @property
    def mean_expressed_g(self) -> np.ndarray:
        """Mean depth of the cells that express each gene."""
        return self.expressed_gs[:, 1] / np.maximum(self.expressed_gs[:, 0], 1)

    def detection_slope(self, rate_g: np.ndarray) -> np.ndarray:
        """Return the slopes of the log-odds: one Newton step of a logistic regression from a slope of zero."""
        n_g, _, squares_g = self.measured_gs.T
        products_g = self.expressed_gs[:, 1] - self.mean_g * self.expressed_gs[:, 0]
        return products_g / (rate_g * (1 - rate_g) * (squares_g - n_g * self.mean_g**2) + _SLOPE_PRIOR)

    def value_slope(self, value_g: np.ndarray) -> np.ndarray:
        """Return the slopes of the values of the cells that express a gene, whose mean is given; least squares."""
        n_g, sums_g, squares_g, products_g = self.expressed_gs.T
        return (products_g - value_g * sums_g) / (squares_g - n_g * self.mean_expressed_g**2 + _SLOPE_PRIOR)


def _blocks(shards: CellSource) -> list[np.ndarray]:
    """Return the places of the training cells, in parts that are read at once."""
    bounds, _ = shards.blocks("train", _CELLS)
    return [places for start, stop in pairwise(bounds) if len(places := shards.places("train", start, stop))]

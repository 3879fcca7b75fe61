"""Initialise a model from statistics of its training cells, so that no epoch is spent on learning them."""

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
"""Cells that count for a slope of zero, which a gene has that hardly any cell expresses."""


def depth_scale(shards: CellSource) -> dict[str, float]:
    """Return mean and standard deviation, over the training cells, of the log number of genes that a cell expresses."""
    counts = [np.diff(shards.offsets(rows)) for rows in _blocks(shards)]
    log_n = np.log(np.maximum(np.concatenate(counts or [np.ones(1)]), 1))
    return {"mean": float(log_n.mean()), "std": float(log_n.std()) or 1.0}


@torch.no_grad()
def start_from_statistics(model: WcedModel, shards: CellSource, values: ValueSums, size: Model, seed: int) -> None:
    """Initialise an untrained model, in place, by what the training cells say of single genes and of pairs of them.

    The whole-cell decoder's biases become each gene's log-odds of expression and mean value: the null model. If
    decoders are told the depth, their slopes are those of a regression of either on the depth, and the position
    decoder's intercepts become the biases of the whole-cell one. With `size.gene_components`, the vectors of genes
    become their whitened loadings on principal components, rotated at random and scaled to the mean length of random
    ones: the mean over a cell's genes, which attention begins as, then tells what cells differ by. `seed` is that of
    the components and of the rotation.
    """
    if size.gene_components:
        _, loading_vk = principal_components(shards, size.gene_components, MOST_CELLS, seed)
        whitened_vk = loading_vk / np.sqrt(np.square(loading_vk).mean())
        generator = torch.Generator().manual_seed(seed)
        rotation_dk, _ = torch.linalg.qr(torch.randn(size.hidden_size, size.gene_components, generator=generator))
        scale = INPUT_STD * np.sqrt(size.hidden_size / size.gene_components)
        model.embedding.gene.weight.copy_(scale * torch.from_numpy(whitened_vk) @ rotation_dk.T)
    depth = model.config.decoder_depth
    if "wced" not in model.config.decoders and depth is None:
        return
    rate_g = np.clip(values.n_nonzero_g / np.maximum(values.n_g, 1), 1e-4, 1 - 1e-4)
    logit_g, value_g = np.log(rate_g / (1 - rate_g)), np.nan_to_num(values.mean_g)
    if depth is not None:
        slope_2g, mean_2g = _depth_regressions(shards, depth, rate_g, value_g)
        for decoder in (model.decoders[name] for name in ("wced", "mlm") if name in model.decoders):
            decoder.depth.copy_(torch.from_numpy(slope_2g))
        logit_g, value_g = np.stack([logit_g, value_g]) - slope_2g * mean_2g
    if "wced" in model.decoders:
        model.decoders["wced"].detection.bias.copy_(torch.from_numpy(logit_g))
        model.decoders["wced"].value.bias.copy_(torch.from_numpy(value_g))
    if "mlm" in model.decoders and depth is not None:
        model.decoders["mlm"].intercept.copy_(torch.from_numpy(np.stack([logit_g, value_g])))


def _depth_regressions(
    shards: CellSource, scale: dict[str, float], rate_g: np.ndarray, value_g: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes of log-odds and of values on the depth z, and the mean z of the cells of each regression; 2 × G.

    Slopes of log-odds are one Newton step of a logistic regression from a slope of zero, over the cells that measured
    the gene; slopes of values are least squares over the cells that express it.
    """
    genes, datasets = shards.measured_dv.shape[1], len(shards.measured_dv)
    expressed_gs = np.zeros((genes, 4))  # of the cells that express the gene: their number, Σz, Σz², Σ z x
    measured_ds = np.zeros((datasets, 3))  # of the cells of a dataset: their number, Σz, Σz²
    for rows in _blocks(shards):
        batch = encode(shards.views(rows), shards.measured_dv, Encoding(Input(length=2)), training=False)
        n = np.diff(batch.target_offsets)
        z_n = (np.log(np.maximum(n, 1)) - scale["mean"]) / scale["std"]
        z_m = np.repeat(z_n, n)
        for k, weight_m in enumerate((None, z_m, z_m**2, z_m * batch.target_value)):
            expressed_gs[:, k] += np.bincount(batch.target_gene, weight_m, minlength=genes)
        for k, weight_n in enumerate((None, z_n, z_n**2)):
            measured_ds[:, k] += np.bincount(batch.dataset, weight_n, minlength=datasets)
    n_g, sum_g, square_g = (shards.measured_dv.T.astype(float) @ measured_ds).T
    expressed_n_g, expressed_sum_g, expressed_square_g, product_g = expressed_gs.T
    mean_g, expressed_mean_g = sum_g / np.maximum(n_g, 1), expressed_sum_g / np.maximum(expressed_n_g, 1)
    detection_g = (expressed_sum_g - mean_g * expressed_n_g) / (
        rate_g * (1 - rate_g) * (square_g - n_g * mean_g**2) + _SLOPE_PRIOR
    )
    slope_g = (product_g - value_g * expressed_sum_g) / (
        expressed_square_g - expressed_n_g * expressed_mean_g**2 + _SLOPE_PRIOR
    )
    return np.stack([detection_g, slope_g]), np.stack([mean_g, expressed_mean_g])


def _blocks(shards: CellSource) -> list[np.ndarray]:
    """Return the rows of the training cells, in parts that are read at once."""
    bounds, _ = shards.blocks("train", _CELLS)
    return [rows for start, stop in pairwise(bounds) if len(rows := shards.places("train", start, stop))]

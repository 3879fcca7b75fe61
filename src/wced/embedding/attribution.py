"""Which genes make a model say what it says: integrated gradients of an output over the input embedding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerIntegratedGradients
from torch import nn

from wced.checkpoint import Checkpoint
from wced.embedding.inference import POSITIONS, batches, label_head, placed
from wced.embedding.inputs import ModelInput
from wced.embedding.matching import symbols_of
from wced.errors import WcedError
from wced.genes.names import without_version
from wced.model import WcedOutput
from wced.progress import progress

EXPRESSION = {"detection": "detection_logits", "value": "values"}
"""Outputs of a gene: the logit of it being expressed, and its log1p_10k."""

Read = Callable[[WcedOutput], torch.Tensor]
"""Takes one number per cell from what the model gives."""


def read_target(target: str, checkpoint: Checkpoint) -> Read:
    """Return what takes a target from the model's output.

    Parameters
    ----------
    target
        `COLUMN=TERM` of a hierarchical head: the log-probability of a Cell Ontology term, leaf or not. `COLUMN=CLASS`
        of another label head: the logit of the class. `COLUMN` of a head that predicts a number: the number,
        standardised as in training. `detection=GENE` and `value=GENE` (Ensembl id or symbol): whether whole-cell
        decoding calls the gene expressed (a logit), and its log1p_10k.
    checkpoint
        The model.

    Raises
    ------
    WcedError
        If the model has no such output.
    """
    column, _, what = target.partition("=")
    if column in EXPRESSION:
        return _gene(target, column, what, checkpoint)
    head = label_head(checkpoint, column)
    if head["loss"] == "mse":
        if what:
            raise WcedError(f"target {target}: {column} is a number and has no classes; the target is {column}")
        return lambda output: output.label_logits[column][:, 0]
    if head["loss"] == "hierarchical":
        return _term(target, column, what, checkpoint)
    classes = checkpoint.labels.classes[column]
    if what not in classes:
        raise WcedError(f"target {target}: {what or 'nothing'} is no class of {column}; one is {classes[0]}")
    return lambda output: output.label_logits[column][:, classes.index(what)]


def _gene(target: str, kind: str, name: str, checkpoint: Checkpoint) -> Read:
    if "wced" not in checkpoint.model.config.decoders:
        raise WcedError(f"target {target}: the checkpoint has no whole-cell decoder")
    vocabulary = checkpoint.vocabulary
    gene = int(vocabulary.ids_of([*without_version([name]), *symbols_of(vocabulary).ids_of([name])]).max())
    if gene < 0:
        raise WcedError(f"target {target}: {name or 'nothing'} is no gene of the model's vocabulary")
    return lambda output: getattr(output, EXPRESSION[kind])[:, gene]


def _term(target: str, column: str, term: str, checkpoint: Checkpoint) -> Read:
    cut = checkpoint.ontology
    if term not in cut.index:
        raise WcedError(f"target {target}: {term or 'nothing'} is no term of the model's ontology")
    if cut.index[term] == cut.root:
        raise WcedError(f"target {target}: the root's probability is 1 for every cell")
    below = torch.from_numpy(np.flatnonzero(cut.descendant_leaves_tl[cut.index[term]]))

    def log_probability(output: WcedOutput) -> torch.Tensor:
        logits_nl = output.label_logits[column].float()
        return logits_nl[:, below.to(logits_nl.device)].logsumexp(dim=1) - logits_nl.logsumexp(dim=1)

    return log_probability


def position_attributions(
    forward: Callable[..., torch.Tensor], layer: nn.Module, value_nl: torch.Tensor, others: tuple[Any, ...],
    *, steps: int, at_once: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Attribute an output to the positions of a layer by integrated gradients (Sundararajan et al. 2017).

    A_p = Σ_d (x_pd - x'_pd) ∫₀¹ ∂f(x' + a (x - x')) / ∂x_pd da, where x is the layer's output for the cell and x' its
    output for the baseline; the integral by Gauss-Legendre quadrature (captum's LayerIntegratedGradients).

    Parameters
    ----------
    forward
        Takes `value_nl` and `others`, returns one number per cell.
    layer
        The module whose output is attributed to, (n, positions, d).
    value_nl
        Values of the cells. The baseline has the same genes, all with the value 0.
    others
        Further arguments of `forward`, the same in the baseline.
    steps
        Points of the quadrature.
    at_once
        Most cells × points at once, at least the number of cells.

    Returns
    -------
    tuple
        The attributions, (n, positions); f(x) - f(x'), (n,); and what the attributions' sum lacks of it, (n,).
    """
    baseline_nl = torch.zeros_like(value_nl)
    method = LayerIntegratedGradients(forward, layer)
    with torch.enable_grad():
        parts_npd = method.attribute(
            value_nl, baseline_nl, additional_forward_args=others, n_steps=steps, method="gausslegendre",
            internal_batch_size=max(at_once, len(value_nl)),
        )  # fmt: skip
    attribution_np = parts_npd.detach().sum(dim=2)
    with torch.no_grad():
        change_n = forward(value_nl, *others) - forward(baseline_nl, *others)
    return attribution_np, change_n, attribution_np.sum(dim=1) - change_n


def attribute(
    cells: ModelInput, checkpoint: Checkpoint, target: str, *, steps: int = 64, batch_size: int = 64
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Attribute an output of the model to genes, over some cells.

    The baseline of a cell is the same cell with all values at zero, so that its genes stand there with the model's own
    token for 'not expressed': what is asked is what their expression does. (Without the genes there would be
    no position to attribute to, and the mask token means 'unknown' and is never seen by a model trained without masks.)

    Parameters
    ----------
    cells
        What `read_cells` returned with the same checkpoint. The mean over cells of several types mixes what drives each
        of them: give the cells that the question is about.
    checkpoint
        The model.
    target
        The output, see `read_target`.
    steps
        Points of the path from the baseline to the cell; the error says whether they are enough.
    batch_size
        Most cells at once.

    Returns
    -------
    tuple
        A table of `wced.tables.ATTRIBUTIONS`, the largest mean |attribution| first. And facts: `cells`, `steps`,
        `change` (mean of f(cell) - f(baseline)), `completeness_error_mean` and `completeness_error_max`: over the
        cells, of |Σ attributions - (f(cell) - f(baseline))|, in units of the mean |f(cell) - f(baseline)|.

    Raises
    ------
    WcedError
        If the model has no such output, or there is no cell.
    """
    read, model = read_target(target, checkpoint), placed(checkpoint)
    if not len(cells):
        raise WcedError("attribution: there is no cell")

    def forward(value: torch.Tensor, gene: torch.Tensor, length: torch.Tensor, *rest: Any) -> torch.Tensor:
        return read(model(gene, value, length, **dict(zip(names, rest, strict=True))))

    vocabulary = checkpoint.vocabulary
    sums_kv, changes, errors = np.zeros((3, len(vocabulary))), [], []
    made = batches(cells, model, batch_size)
    for _, batch in progress(made, "gradients", total=len(cells), unit="cells", size=lambda made: len(made[0])):
        gene, value, length = (batch.pop(name) for name in ("gene", "value", "length"))
        names, rest = tuple(batch), tuple(batch.values())
        attribution_np, change_n, error_n = position_attributions(
            forward, model.embedding, value, (gene, length, *rest),
            steps=steps, at_once=POSITIONS[model.device.type] // gene.shape[1],
        )  # fmt: skip
        attribution_nl = attribution_np[:, model.config.cls_positions :]
        there_nl = torch.arange(gene.shape[1], device=gene.device) < length[:, None]
        gene_p, attribution_p = gene[there_nl].cpu().numpy(), attribution_nl[there_nl].double().cpu().numpy()
        expressed_p = (value[there_nl] > 0).cpu().numpy()
        for sum_v, weight_p in zip(sums_kv, (attribution_p, np.abs(attribution_p), expressed_p), strict=True):
            sum_v += np.bincount(gene_p, weights=weight_p, minlength=len(vocabulary))
        changes.append(change_n.double().cpu().numpy())
        errors.append(error_n.double().abs().cpu().numpy())
    change_n, error_n = np.concatenate(changes), np.concatenate(errors)
    scale = np.abs(change_n).mean()
    if not scale:
        raise WcedError(f"target {target}: it does not change when all values become zero")
    facts = {
        "cells": len(cells), "steps": steps, "change": float(change_n.mean()),
        "completeness_error_mean": float(error_n.mean() / scale),
        "completeness_error_max": float(error_n.max() / scale),
    }  # fmt: skip
    return _table(target, sums_kv, len(cells), checkpoint), facts


def _table(target: str, sums_kv: np.ndarray, cells: int, checkpoint: Checkpoint) -> pd.DataFrame:
    attribution_v, absolute_v, expressing_v = sums_kv
    vocabulary = checkpoint.vocabulary
    frame = pd.DataFrame(
        {
            "target": target,
            "gene_id": vocabulary.gene_ids,
            "gene_symbol": vocabulary.symbols,
            "attribution": attribution_v / cells,
            "abs_attribution": absolute_v / cells,
            "cells_expressing": expressing_v.astype(np.int64),
            "cells": cells,
        }
    )
    frame = frame[frame["cells_expressing"] > 0]
    return frame.sort_values(["abs_attribution", "gene_id"], ascending=[False, True], ignore_index=True)

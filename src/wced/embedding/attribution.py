"""Which genes drive an output of a model: integrated gradients of the output over the input embedding."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerIntegratedGradients
from torch import nn

from wced.checkpoint import Checkpoint
from wced.embedding.inference import POSITIONS, batches, label_head, placed
from wced.embedding.inputs import ModelInput, symbols_of
from wced.errors import WcedError
from wced.genes.names import without_version
from wced.model import WcedOutput
from wced.progress import progress

EXPRESSION = {"detection": "detection_logits", "value": "values"}
"""Outputs for a gene: the logit of it being expressed, and its log1p_10k."""

Read = Callable[[WcedOutput], torch.Tensor]
"""Takes one number per cell from the model's output."""


def read_target(target: str, checkpoint: Checkpoint) -> Read:
    """Return the function that takes a target from the model's output.

    `COLUMN=TERM` of a hierarchical head is the log-probability of a Cell Ontology term, leaf or not; `COLUMN=CLASS` of
    another label head the logit of the class; `COLUMN` of a head that predicts a number the number, standardised as in
    training. `detection=GENE` and `value=GENE` (Ensembl id or symbol) are the logit of the gene being expressed, and
    its log1p_10k, by whole-cell decoding. WcedError is raised if the model has no such output.
    """
    column, _, name = target.partition("=")
    if column in EXPRESSION:
        if "wced" not in checkpoint.model.config.decoders:
            raise WcedError(f"target {target}: the checkpoint has no whole-cell decoder")
        vocabulary = checkpoint.vocabulary
        gene = int(vocabulary.ids_of([*without_version([name]), *symbols_of(vocabulary).ids_of([name])]).max())
        if gene < 0:
            raise WcedError(f"target {target}: {name or 'nothing'} is no gene of the model's vocabulary")
        return lambda output: getattr(output, EXPRESSION[column])[:, gene]
    head = label_head(checkpoint, column)
    if head["loss"] == "mse":
        if name:
            raise WcedError(f"target {target}: {column} is a number and has no classes; the target is {column}")
        return lambda output: output.label_logits[column][:, 0]
    if head["loss"] == "hierarchical":
        return _term(target, column, name, checkpoint)
    classes = checkpoint.labels.classes[column]
    if name not in classes:
        raise WcedError(f"target {target}: {name or 'nothing'} is no class of {column}; one is {classes[0]}")
    return lambda output: output.label_logits[column][:, classes.index(name)]


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

    A_p = Σ_d (x_pd - x'_pd) ∫₀¹ ∂f(x' + a (x - x')) / ∂x_pd da, where x is the output of `layer` (n, positions, d) for
    the cell and x' that for the baseline: the same genes, all with the value 0. The integral is taken by Gauss-Legendre
    quadrature with `steps` points, `at_once` cells × points at a time (captum's LayerIntegratedGradients). `forward`
    takes `value_nl` and `others`, and returns one number per cell.

    Returns the attributions, (n, positions); f(x) - f(x'), (n,); and the sum of the attributions minus that, (n,).
    """
    baseline_nl = torch.zeros_like(value_nl)
    with torch.enable_grad():
        parts_npd = LayerIntegratedGradients(forward, layer).attribute(
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

    The baseline of a cell is the same cell with all values at zero, so that its genes have the model's own token for
    'not expressed': the attribution is what their expression does. (Without the genes there would be no position to
    attribute to, and the mask token means 'unknown' and is never seen by a model trained without masks.)

    Give the cells that the question is about: a mean over several types mixes what drives each of them. `target` is an
    output as in `read_target`; `steps` are the points of the path from the baseline to the cell, and the completeness
    error says whether they are enough. WcedError is raised if the model has no such output, or there is no cell.

    Returns
    -------
    tuple
        A table of `wced.tables.ATTRIBUTIONS`, the largest mean |attribution| first. And facts: `cells`, `steps`,
        `change` (mean of f(cell) - f(baseline)), `completeness_error_mean` and `completeness_error_max`: over the
        cells, of |Σ attributions - (f(cell) - f(baseline))|, in units of the mean |f(cell) - f(baseline)|.
    """
    read, model, vocabulary = read_target(target, checkpoint), placed(checkpoint), checkpoint.vocabulary
    if not len(cells):
        raise WcedError("attribution: there is no cell")

    def forward(value: torch.Tensor, gene: torch.Tensor, length: torch.Tensor, *rest: Any) -> torch.Tensor:
        return read(model(gene, value, length, **dict(zip(names, rest, strict=True))))

    sums_kv, changes, errors = np.zeros((3, len(vocabulary))), [], []
    runs = progress(
        batches(cells, model, batch_size), "gradients", total=len(cells), unit="cells", size=lambda step: len(step[0])
    )
    for _, batch in runs:
        gene, value, length = (batch.pop(name) for name in ("gene", "value", "length"))
        names, rest = tuple(batch), tuple(batch.values())
        attribution_np, change_n, error_n = position_attributions(
            forward, model.embedding, value, (gene, length, *rest),
            steps=steps, at_once=POSITIONS[model.device.type] // gene.shape[1],
        )  # fmt: skip
        attribution_nl = attribution_np[:, model.config.cls_positions :]
        present_nl = torch.arange(gene.shape[1], device=gene.device) < length[:, None]
        gene_p, attribution_p = gene[present_nl].cpu().numpy(), attribution_nl[present_nl].double().cpu().numpy()
        expressed_p = (value[present_nl] > 0).cpu().numpy()
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
    attribution_v, absolute_v, expressing_v = sums_kv
    columns = {
        "target": target,
        "gene_id": vocabulary.gene_ids,
        "gene_symbol": vocabulary.symbols,
        "attribution": attribution_v / len(cells),
        "abs_attribution": absolute_v / len(cells),
        "cells_expressing": expressing_v.astype(np.int64),
        "cells": len(cells),
    }
    frame = pd.DataFrame(columns)[expressing_v > 0]
    return frame.sort_values(["abs_attribution", "gene_id"], ascending=[False, True], ignore_index=True), facts

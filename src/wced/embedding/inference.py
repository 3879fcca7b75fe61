"""Run a checkpoint over cells: batches with little padding, and what is read from the encoder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from wced.checkpoint import Checkpoint
from wced.config.pretraining import Input
from wced.embedding.inputs import ModelInput
from wced.embedding.pooling import Pooling
from wced.errors import WcedError
from wced.model import WcedModel
from wced.model.backbones import layers_of
from wced.progress import progress
from wced.shards.cells import CellViews
from wced.shards.encode import Encoding, encode

POSITIONS = {"cpu": 2**12, "cuda": 2**18}
"""Most positions of a batch by device. More is not faster: a CPU's caches are full long before."""


def _encoding(model: WcedModel) -> Encoding:
    """Return the encoding of inference: that of the training, without anything random."""
    return Encoding(Input(**model.config.input), cell_target=False)


def _sequence_lengths(cells: ModelInput, encoding: Encoding) -> np.ndarray:
    """Return how many positions each cell's sequence has, CLS not counted; int64, (n,)."""
    length_n = np.diff(cells.cells.offsets)
    if encoding.input.leave_out:
        kept = np.concatenate([[0], np.cumsum(cells.choice.allowed_v[cells.cells.gene])])
        length_n = np.diff(kept[cells.cells.offsets])
    if encoding.input.zeros == "include":
        measured_v = cells.measured_v & cells.choice.allowed_v if encoding.input.leave_out else cells.measured_v
        length_n = np.maximum(length_n, measured_v.sum())
    return np.minimum(length_n, encoding.input.length)


def plan(length_n: np.ndarray, batch_size: int, positions: int) -> list[np.ndarray]:
    """Return the rows of each batch, every row once: long sequences first, those of one length together.

    A batch has at most `batch_size` cells and `positions` positions (a single cell may have more). It ends before its
    length changes if it is at least half full by then: without padding, attention needs no mask.
    """
    order = np.argsort(-length_n, kind="stable")
    sorted_n, rows, start = -length_n[order], [], 0
    while start < len(order):
        longest = max(-int(sorted_n[start]), 1)
        size = max(min(batch_size, positions // longest), 1)
        same = int(np.searchsorted(sorted_n, sorted_n[start], side="right")) - start
        stop = start + (same if size / 2 <= same < size else size)
        rows.append(order[start:stop])
        start = stop
    return rows


def batches(
    cells: ModelInput, model: WcedModel, batch_size: int
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor | bool]]]:
    """Yield the rows of each batch and the arguments of `WcedModel.encode` for them, on the model's device.

    Nothing is random: of a cell with more genes than fit, the most expressed or most informative are read, and zeros
    are read only where the encoding always includes them.
    """
    encoding, views, device = _encoding(model), cells.cells.views(), model.device
    measured_dv = cells.measured_v[None]
    for rows in plan(_sequence_lengths(cells, encoding), batch_size, POSITIONS[device.type]):
        batch = encode(views_of(views, rows), measured_dv, encoding, training=False, choice=cells.choice)
        arrays = {"gene": batch.gene, "value": batch.value, "length": batch.length}
        if cells.metadata_nm is not None:
            arrays["metadata"] = cells.metadata_nm[rows]
        if batch.gene_state is not None:
            arrays["gene_state"] = batch.gene_state
        tensors = {name: _moved(torch.from_numpy(array), device) for name, array in arrays.items()}
        yield rows, {**tensors, "full": bool((batch.length == batch.gene.shape[1]).all())}


def views_of(views: CellViews, rows: np.ndarray) -> CellViews:
    """Return the views of some of the cells, in the order of `rows`; no counts are copied."""
    lengths = views.offsets[rows + 1] - views.offsets[rows]
    return replace(
        views,
        offsets=np.concatenate([[0], lengths.cumsum()]).astype(np.int64),
        **{name: getattr(views, name)[rows] for name in ("gene_at", "count_at", "soma_joinid", "dataset", "labels")},
        perturbed=None if views.perturbed is None else views.perturbed[rows],
    )


def _moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device; a GPU takes it while the next batch is made."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def padded_share(cells: ModelInput, model: WcedModel, batch_size: int) -> float:
    """Return the share of a run's positions that are padding."""
    length_n = _sequence_lengths(cells, _encoding(model))
    rows = plan(length_n, batch_size, POSITIONS[model.device.type])
    positions = sum(int(length_n[batch].max(initial=0)) * len(batch) for batch in rows)
    return 1 - length_n.sum() / positions if positions else 0.0


def placed(checkpoint: Checkpoint) -> WcedModel:
    """Return the checkpoint's model in evaluation mode, moved to the GPU if there is one."""
    return checkpoint.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


@torch.inference_mode()
def _run(
    cells: ModelInput, model: WcedModel, batch_size: int, read: Callable[..., torch.Tensor], width: int, cls_only: bool
) -> np.ndarray:
    """Return what `read` makes of hidden states and lengths, cells × `width`, in the order of the cells."""
    # It stays on the device until the end: a copy after each batch would make a GPU wait for the next batch.
    values_nd = torch.empty((len(cells), width), device=model.device)
    steps = progress(
        batches(cells, model, batch_size), "model", total=len(cells), unit="cells", size=lambda step: len(step[0])
    )
    for rows, batch in steps:
        hidden_nld = model.encode(**batch, cls_only=cls_only)
        values_nd[_moved(torch.from_numpy(rows), model.device)] = read(hidden_nld, batch["length"])
    return values_nd.cpu().numpy()


def embed(
    cells: ModelInput, checkpoint: Checkpoint, *, pooling: Pooling, batch_size: int, obs: pd.DataFrame | None = None
) -> np.ndarray:
    """Return the embedding of every cell; cells × `pooling.width`, float32, in the order of the cells.

    A cell without any gene of the vocabulary gets the embedding of an empty cell. Neither the batch size nor a cell's
    neighbours change the result beyond rounding (1e-5). A pooling that centres batches reads the column `batch` of
    `obs`; WcedError is raised if it is missing.
    """
    model, batch_n = placed(checkpoint), pooling.batches(obs)
    layers, after = layers_of(model.backbone, model.config.num_hidden_layers), {}

    def keep(block: int, layer: torch.nn.Module, inputs: Any, output: Any) -> None:
        after[block] = output if isinstance(output, torch.Tensor) else output[0]

    with ExitStack() as hooks:
        for block in pooling.blocks:
            hooks.callback(layers[block - 1].register_forward_hook(partial(keep, block)).remove)
        read = partial(pooling, after=after)
        embedding_nd = _run(cells, model, batch_size, read, pooling.width, pooling.cls_only)
    return embedding_nd if batch_n is None else pooling.centred(embedding_nd, batch_n)


def label_logits(cells: ModelInput, checkpoint: Checkpoint, column: str, *, batch_size: int) -> np.ndarray:
    """Return the logits of a label head; cells × classes (leaves of the hierarchical head, 1 for a number), float32.

    WcedError is raised if the checkpoint has no such head.
    """
    model, k = placed(checkpoint), checkpoint.model.config.cls_positions
    classes = label_head(checkpoint, column)["classes"]
    return _run(
        cells, model, batch_size, lambda hidden, _: model.label_logits(hidden[:, :k])[column].float(), classes, True
    )


def label_head(checkpoint: Checkpoint, column: str) -> dict[str, Any]:
    """Return the head of a label column as the config has it; raise WcedError if there is none."""
    heads = {head["column"]: head for head in checkpoint.model.config.label_heads}
    if column not in heads:
        raise WcedError(f"{column}: the checkpoint has no such label head; it has {', '.join(heads) or 'none'}")
    return heads[column]


def untrained(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """Return the same model with fresh weights: the baseline that shows what training added."""
    torch.manual_seed(seed)
    return replace(checkpoint, model=WcedModel(checkpoint.model.config).eval())

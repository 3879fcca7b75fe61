"""Training steps and embedding at the paper's size, timed in turn with the best matrix products of the device."""

import ctypes
import gc
from collections import UserList
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch.nn import functional as F

from speed.flops import forward_flops, step_flops
from speed.generate import GENES, generated_counts
from wced import tables
from wced.config.pretraining import Checkpoint
from wced.embedding.inference import batches, padded_share
from wced.embedding.inputs import ModelInput
from wced.embedding.pooling import Pooling
from wced.errors import WcedError
from wced.model import WcedConfig, WcedModel
from wced.model.cpu import Linear, keep_freed_memory
from wced.objectives import LeafTargets
from wced.pretraining.build import encoding_of
from wced.pretraining.losses import Losses
from wced.pretraining.module import PretrainingModule
from wced.resources import peak_resident
from wced.shards.batches import to_tensors
from wced.shards.cells import RaggedCells, from_csr
from wced.shards.encode import encode

WORKS = ("mlm_step", "wced_step", "embedding")
PRECISIONS = {"fp32": ("32-true", torch.float32), "bf16": ("bf16-mixed", torch.bfloat16)}
"""Lightning's name and torch's type of each precision."""
CLASSES = {
    "cell_type_ontology_term_id": 700,
    "tissue_ontology_term_id": 200,
    "tissue_general_ontology_term_id": 60,
    "donor_id": 5000,
}
"""Classes of the label heads, about as many as the Census has; cell types include those that have others below."""
LEAVES = 500
"""Cell types without others below them."""
BUCKET_STEPS = 16
"""Batches whose cells are sorted by length to compute the padding with buckets."""
WARM_UP = 2
"""Steps before the first that is timed."""
SQUARE = {"cpu": 2048, "cuda": 8192}
"""Side of the square matrix product; on a GPU the largest of those that usually reach its peak."""
CALLS = {"cpu": 1, "cuda": 20}
"""Matrix products timed together."""
SEED = 0


@dataclass(frozen=True)
class Case:
    """One row."""

    work: str
    precision: str
    intermediate_size: int
    length: int
    batch_size: int
    device: str


def synchronize(device: str) -> None:
    """Wait until the device has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()


class MatmulPeak:
    """The best rate of some matrix products, computed in turn with what is measured, so that disturbances hit both."""

    def __init__(self, device: str, precision: str, positions: int, width: int, inner: int) -> None:
        """Make the operands: squares, and the model's own by its positions, width and feed-forward width (`inner`)."""
        self.device = device
        dtype, side = PRECISIONS[precision][1], SQUARE[device]
        self._products: list[tuple[str, float, Callable[[], torch.Tensor]]] = []
        for rows, inside, columns in ((side, side, side), (positions, width, 2 * inner), (positions, inner, width)):
            layer = Linear(inside, columns).to(device, dtype).requires_grad_(False)
            x = torch.randn(rows, inside, device=device, dtype=dtype)
            flops = 2.0 * rows * inside * columns
            self._products.append(("matmul", flops, lambda x=x, layer=layer: F.linear(x, layer.weight)))
            self._products.append(("linear", flops, lambda x=x, layer=layer: layer(x)))
        self.best = {"matmul": 0.0, "linear": 0.0}
        """FLOP/s by torch.matmul, and by the model's linear layer."""
        self.turn()
        self.best = dict.fromkeys(self.best, 0.0)

    def turn(self) -> None:
        """Compute every product once, and keep the best rates."""
        for name, flops, compute in self._products:
            synchronize(self.device)
            start = perf_counter()
            for _ in range(CALLS[self.device]):
                compute()
            synchronize(self.device)
            rate = CALLS[self.device] * flops / (perf_counter() - start)
            self.best[name] = max(self.best[name], rate)


def reset_peak(device: str) -> None:
    """Begin a new measurement of `peak_mb`, after freeing unused memory."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: str) -> float:
    """Return the largest memory since `reset_peak` in MB: resident memory of the process, or tensors on the GPU."""
    return torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else peak_resident()


def section_of(work: str, length: int) -> Checkpoint:
    """Return how a work is trained: masked language modelling, or whole-cell decoding with four label heads."""
    if work == "mlm_step":
        return Checkpoint.model_validate({"mlm": {}, "input": {"length": length, "zeros": "interleave"}})
    losses = ["hierarchical", *["focal"] * (len(CLASSES) - 1)]
    heads = [{"column": column, "loss": loss} for column, loss in zip(CLASSES, losses, strict=True)]
    return Checkpoint.model_validate({"wced": {}, "input": {"length": length, "dropout": 0.2}, "label_heads": heads})


def _model(case: Case, section: Checkpoint) -> WcedModel:
    torch.manual_seed(SEED)
    outputs = CLASSES | {"cell_type_ontology_term_id": LEAVES}
    heads = [
        {"column": head.column, "loss": head.loss, "classes": outputs[head.column], "cls_position": 0}
        for head in section.label_heads
    ]
    config = WcedConfig(
        vocabulary_size=GENES, intermediate_size=case.intermediate_size, label_heads=heads,
        decoders=[name for name in ("wced", "mlm") if getattr(section, name) is not None],
        input=section.input.model_dump(),
    )  # fmt: skip
    return WcedModel(config)


def _cells(n: int) -> RaggedCells:
    """Return generated cells with random labels."""
    cells = from_csr(generated_counts(n, 0, SEED), np.arange(GENES, dtype=np.int32), GENES)
    rng = np.random.default_rng(SEED)
    labels = np.stack([rng.integers(0, classes, n, dtype=np.int32) for classes in CLASSES.values()], axis=1)
    return replace(cells, labels=labels)


def padding(length_n: np.ndarray, batch_size: int) -> float:
    """Return the share of positions that are padding when consecutive cells form batches."""
    parts = [length_n[start : start + batch_size] for start in range(0, len(length_n), batch_size)]
    return 1 - float(length_n.sum()) / sum(int(part.max()) * len(part) for part in parts)


class _Timed(Callback):
    """Time every step after the warm-up, each after a turn of matrix products."""

    def __init__(self, peak: MatmulPeak) -> None:
        self.peak, self.seconds, self._start = peak, [], 0.0

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, number: int) -> None:
        """Start the clock."""
        if number == WARM_UP:
            self.seconds.clear()
        self.peak.turn()
        synchronize(self.peak.device)
        self._start = perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, number: int
    ) -> None:
        """Stop the clock."""
        synchronize(self.peak.device)
        self.seconds.append(perf_counter() - self._start)


def _trained(case: Case, cells: RaggedCells, repeats: int, peak: MatmulPeak) -> tuple[list[float], int, np.ndarray]:
    """Return the seconds of each step, the operations of one, and the lengths of its sequences."""
    section = section_of(case.work, case.length)
    model = _model(case, section)
    measured_dv = np.ones((1, GENES), bool)
    batch = to_tensors(encode(cells, measured_dv, encoding_of(section), training=True, seed=SEED))
    below_cl = np.random.default_rng(SEED).random((CLASSES["cell_type_ontology_term_id"], LEAVES)) < 0.02
    losses = Losses(
        section, measured_dv=measured_dv, label_columns=list(CLASSES), number_columns=[], standard={},
        leaf_targets={"cell_type_ontology_term_id": LeafTargets(below_cl, np.full(len(below_cl), -1))},
    )  # fmt: skip
    steps = WARM_UP + repeats
    module = PretrainingModule(
        model, section, losses, {}, seed=SEED, steps=steps, steps_per_epoch=steps, progress_every=steps + 1
    )
    timed = _Timed(peak)
    trainer = L.Trainer(
        accelerator="gpu" if case.device == "cuda" else "cpu", devices=1, precision=PRECISIONS[case.precision][0],
        max_epochs=1, gradient_clip_val=section.optimiser.clip, callbacks=[timed], plugins=[LightningEnvironment()],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, num_sanity_val_steps=0, limit_val_batches=0,
    )  # fmt: skip
    # The same batch in every step; Lightning would take a plain list for several loaders.
    trainer.fit(module, UserList(dict(batch) for _ in range(steps)), UserList([batch]))
    lengths = batch["length"].numpy()
    hidden = int(batch["masked"].sum()) if case.work == "mlm_step" else None
    return timed.seconds, step_flops(model.config, lengths, hidden), lengths


@torch.inference_mode()
def _embedded(
    case: Case, cells: RaggedCells, repeats: int, peak: MatmulPeak
) -> tuple[list[float], int, np.ndarray, float]:
    """Return the seconds of each embedding of all cells, the operations of one, the lengths, and the padding."""
    model = _model(case, section_of("wced_step", case.length)).to(case.device).eval()
    inputs = ModelInput(cells, np.ones(GENES, bool), None, {})
    pooling, seconds = Pooling("cls", model), []
    for _ in range(WARM_UP + repeats):
        peak.turn()
        synchronize(case.device)
        start = perf_counter()
        with torch.autocast(case.device, torch.bfloat16, enabled=case.precision == "bf16"):
            for _, batch in batches(inputs, model, len(cells)):
                pooling(model.encode(**batch, cls_only=True), batch["length"])
        synchronize(case.device)
        seconds.append(perf_counter() - start)
    lengths = np.minimum(np.diff(cells.offsets), case.length)
    flops = forward_flops(model.config, lengths, decode=False)
    return seconds[WARM_UP:], flops, lengths, padded_share(inputs, model, len(cells))


def measured(case: Case, repeats: int) -> dict[str, Any]:
    """Return one row of `wced.tables.STEP_BENCHMARK`."""
    several = _cells(BUCKET_STEPS * case.batch_size)
    end = several.offsets[case.batch_size]
    cells = RaggedCells(
        several.offsets[: case.batch_size + 1], several.gene[:end], several.count[:end],
        *(field[: case.batch_size] for field in (several.soma_joinid, several.dataset, several.labels)),
    )  # fmt: skip
    reset_peak(case.device)
    inner = case.intermediate_size
    peak = MatmulPeak(case.device, case.precision, case.batch_size * case.length, 384, inner)
    unsorted = np.minimum(np.diff(several.offsets), case.length)
    if case.work == "embedding":
        seconds, flops, lengths, padded = _embedded(case, cells, repeats, peak)
    else:
        seconds, flops, lengths = _trained(case, cells, repeats, peak)
        padded = padding(lengths, case.batch_size)
    typical = median(seconds)
    matmul, best = peak.best["matmul"], max(peak.best.values())
    return {
        "work": case.work, "device": case.device, "precision": case.precision,
        "intermediate_size": case.intermediate_size, "length": case.length, "batch_size": case.batch_size,
        "threads": torch.get_num_threads(), "repeats": repeats, "seconds": typical, "min": min(seconds),
        "max": max(seconds), "cells_per_second": case.batch_size / typical,
        "tokens_per_second": (int(lengths.sum()) + len(lengths)) / typical, "flops": flops,
        "flops_per_second": flops / typical, "matmul_flops_per_second": matmul, "peak_flops_per_second": best,
        "share_of_matmul": flops / typical / matmul, "share_of_peak": flops / typical / best,
        "peak_mb": peak_mb(case.device), "padding": padded,
        "padding_unsorted": padding(unsorted, case.batch_size),
        "padding_bucketed": padding(np.sort(unsorted), case.batch_size),
    }  # fmt: skip


def precisions_of(device: str) -> list[str]:
    """Return the precisions that a device multiplies in natively."""
    if device == "cuda":
        return ["fp32", "bf16"] if torch.cuda.is_bf16_supported() else ["fp32"]
    return ["fp32", "bf16"] if torch.cpu._is_avx512_bf16_supported() else ["fp32"]


def measure(
    *, device: str, works: Iterable[str], precisions: Iterable[str], widths: Iterable[int], lengths: Iterable[int],
    batch_size: int, repeats: int, done: Callable[[dict[str, Any]], None],
) -> pd.DataFrame:  # fmt: skip
    """Measure all combinations of the command's options, and call `done` with each row of tables.STEP_BENCHMARK.

    A precision that the device does not multiply in has no row. Raises WcedError if a work, precision or device does
    not exist.
    """
    for word, known in (*((work, WORKS) for work in works), *((p, PRECISIONS) for p in precisions)):
        if word not in known:
            raise WcedError(f"{word!r} is none of {', '.join(known)}")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise WcedError(f"--device {device}: there is no such device")
    if device == "cpu":
        keep_freed_memory()
    able = [precision for precision in precisions if precision in precisions_of(device)]
    rows = []
    for precision, length, width, work in product(able, lengths, widths, works):
        rows.append(measured(Case(work, precision, width, length, batch_size, device), repeats))
        done(rows[-1])
    return tables.checked(pd.DataFrame(rows), tables.STEP_BENCHMARK)

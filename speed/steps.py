"""Training steps and embedding at the paper's size, timed in turn with the best matrix products of the device."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment

from speed.flops import forward_flops, step_flops
from speed.generate import GENES, generated_counts
from speed.peak import MatmulPeak, peak_mb, reset_peak, synchronize
from wced import tables
from wced.config.pretraining import Checkpoint
from wced.embedding.inference import batches, padded_share
from wced.embedding.inputs import ModelInput
from wced.embedding.pooling import Pooling
from wced.errors import WcedError
from wced.model import WcedConfig, WcedModel
from wced.model.cpu import keep_freed_memory
from wced.objectives import LeafTargets
from wced.pretraining.build import encoding_of
from wced.pretraining.losses import Losses
from wced.pretraining.module import PretrainingModule
from wced.shards.batches import TensorBatch, to_tensors
from wced.shards.cells import RaggedCells, from_csr
from wced.shards.encode import encode

WORKS = ("mlm_step", "wced_step", "embedding")
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
"""Precisions of the table and Lightning's words for them."""

CLASSES = {
    "cell_type_ontology_term_id": 700,
    "tissue_ontology_term_id": 200,
    "tissue_general_ontology_term_id": 60,
    "donor_id": 5000,
}
"""Classes of the label heads, about as many as the Census has; of the first, cell types below which all others are."""

LEAVES = 500
"""Cell types of these that have no others below them."""

BUCKET_STEPS = 16
"""Batches whose cells are sorted by length where padding with buckets is computed."""

WARM_UP = 2
"""Steps before the first that is timed."""

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


def section_of(work: str, length: int) -> Checkpoint:
    """Return how a work is trained: masked language modelling, or whole-cell decoding with four label heads."""
    if work == "mlm_step":
        return Checkpoint.model_validate({"mlm": {}, "input": {"length": length, "zeros": "interleave"}})
    losses = ["hierarchical", *["focal"] * (len(CLASSES) - 1)]
    heads = [{"column": column, "loss": loss} for column, loss in zip(CLASSES, losses, strict=True)]
    return Checkpoint.model_validate(
        {"wced": {}, "input": {"length": length, "dropout": 0.2}, "label_heads": heads}
    )  # fmt: skip


def _model(case: Case, section: Checkpoint) -> WcedModel:
    torch.manual_seed(SEED)
    outputs = CLASSES | {"cell_type_ontology_term_id": LEAVES}
    heads = [
        {"column": head.column, "loss": head.loss, "classes": outputs[head.column], "cls_position": 0}
        for head in section.label_heads
    ]
    decoders = [name for name in ("wced", "mlm") if getattr(section, name) is not None]
    return WcedModel(
        WcedConfig(
            vocabulary_size=GENES,
            intermediate_size=case.intermediate_size,
            decoders=decoders,
            label_heads=heads,
            input=section.input.model_dump(),
        )
    )


def _cells(n: int) -> RaggedCells:
    """Return generated cells with random labels."""
    found = from_csr(generated_counts(n, 0, SEED), np.arange(GENES, dtype=np.int32), GENES)
    rng = np.random.default_rng(SEED)
    labels = np.stack([rng.integers(0, classes, n, dtype=np.int32) for classes in CLASSES.values()], axis=1)
    return RaggedCells(found.offsets, found.gene, found.count, found.soma_joinid, found.dataset, labels)


def _batch(cells: RaggedCells, section: Checkpoint) -> TensorBatch:
    encoded = encode(cells, np.ones((1, GENES), bool), encoding_of(section), training=True, seed=SEED)
    return to_tensors(encoded)


def padding(length_n: np.ndarray, batch_size: int) -> float:
    """Return the share of positions that are padding when cells come in batches as they stand."""
    parts = [length_n[start : start + batch_size] for start in range(0, len(length_n), batch_size)]
    return 1 - float(length_n.sum()) / sum(int(part.max()) * len(part) for part in parts)


class _Again:
    """The same batch again and again."""

    def __init__(self, batch: TensorBatch, steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[TensorBatch]:
        return (dict(self.batch) for _ in range(self.steps))


class _Timed(Callback):
    """Take the time of every step after the first ones, each after a turn of matrix products."""

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
        """Stop it."""
        synchronize(self.peak.device)
        self.seconds.append(perf_counter() - self._start)


def _trained(case: Case, cells: RaggedCells, repeats: int, peak: MatmulPeak) -> tuple[list[float], int, np.ndarray]:
    """Return the seconds of each step, the operations of one, and the lengths of its sequences."""
    section = section_of(case.work, case.length)
    model, batch = _model(case, section), _batch(cells, section)
    below_cl = np.random.default_rng(SEED).random((CLASSES["cell_type_ontology_term_id"], LEAVES)) < 0.02
    losses = Losses(
        section, measured_dv=np.ones((1, GENES), bool), label_columns=list(CLASSES), number_columns=[],
        leaf_targets={"cell_type_ontology_term_id": LeafTargets(below_cl, np.full(len(below_cl), -1))}, standard={},
    )  # fmt: skip
    steps = WARM_UP + repeats
    module = PretrainingModule(
        model, section, losses, {}, seed=SEED, steps=steps, steps_per_epoch=steps, progress_every=steps + 1
    )
    timed = _Timed(peak)
    trainer = L.Trainer(
        accelerator="gpu" if case.device == "cuda" else "cpu", devices=1, precision=PRECISIONS[case.precision],
        max_epochs=1, gradient_clip_val=section.optimiser.clip, callbacks=[timed], plugins=[LightningEnvironment()],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, num_sanity_val_steps=0, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, _Again(batch, steps), _Again(batch, 1))
    lengths = batch["length"].numpy()
    hidden = int(batch["masked"].sum()) if case.work == "mlm_step" else None
    return timed.seconds, step_flops(model.config, lengths, hidden), lengths


@torch.inference_mode()
def _embedded(
    case: Case, cells: RaggedCells, repeats: int, peak: MatmulPeak
) -> tuple[list[float], int, np.ndarray, float]:
    """Return the seconds of each embedding of all cells, the operations of one, the lengths, and the padding."""
    model = _model(case, section_of("wced_step", case.length)).to(case.device).eval()
    read = ModelInput(cells, np.ones(GENES, bool), None, {})
    pooling, seconds = Pooling("cls", model), []
    for repeat in range(WARM_UP + repeats):
        peak.turn()
        synchronize(case.device)
        start = perf_counter()
        with torch.autocast(case.device, torch.bfloat16, enabled=case.precision == "bf16"):
            for _, batch in batches(read, model, len(cells)):
                pooling(model.encode(**batch, cls_only=True), batch["length"])
        synchronize(case.device)
        if repeat >= WARM_UP:
            seconds.append(perf_counter() - start)
    lengths = np.minimum(np.diff(cells.offsets), case.length)
    flops = forward_flops(model.config, lengths, decode=False)
    return seconds, flops, lengths, padded_share(read, model, len(cells))


def measured(case: Case, repeats: int) -> dict[str, Any]:
    """Return one row of `wced.tables.STEP_BENCHMARK`."""
    several = _cells(BUCKET_STEPS * case.batch_size)
    cells = _some(several, case.batch_size)
    reset_peak(case.device)
    inner = case.intermediate_size
    peak = MatmulPeak(case.device, case.precision, case.batch_size * case.length, 384, inner)
    as_they_come = np.minimum(np.diff(several.offsets), case.length)
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
        "padding_unsorted": padding(as_they_come, case.batch_size),
        "padding_bucketed": padding(np.sort(as_they_come), case.batch_size),
    }  # fmt: skip


def _some(cells: RaggedCells, n: int) -> RaggedCells:
    end = cells.offsets[n]
    return RaggedCells(
        cells.offsets[: n + 1], cells.gene[:end], cells.count[:end], cells.soma_joinid[:n], cells.dataset[:n],
        cells.labels[:n],
    )  # fmt: skip


def precisions_of(device: str) -> list[str]:
    """Return the precisions that a device multiplies in natively."""
    if device == "cuda":
        return ["fp32", "bf16"] if torch.cuda.is_bf16_supported() else ["fp32"]
    return ["fp32", "bf16"] if torch.cpu._is_avx512_bf16_supported() else ["fp32"]


def measure(
    *, device: str, works: Iterable[str], precisions: Iterable[str], widths: Iterable[int], lengths: Iterable[int],
    batch_size: int, repeats: int, done: Callable[[dict[str, Any]], None],
) -> pd.DataFrame:  # fmt: skip
    """Measure all combinations.

    Parameters
    ----------
    device
        `cpu` or `cuda`.
    works, precisions
        Of `WORKS` and `PRECISIONS`; a precision that the device does not multiply in gives no row.
    widths, lengths
        Feed-forward widths, and largest numbers of genes in a sequence.
    batch_size, repeats
        Cells of a step, and how many steps of each are timed.
    done
        Called with each row.

    Returns
    -------
    pandas.DataFrame
        Rows of `wced.tables.STEP_BENCHMARK`.

    Raises
    ------
    WcedError
        If a work, precision or device is none that there is.
    """
    for word, known in (*((work, WORKS) for work in works), *((p, PRECISIONS) for p in precisions)):
        if word not in known:
            raise WcedError(f"{word!r} is none of {', '.join(known)}")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise WcedError(f"--device {device}: there is no such device")
    if device == "cpu":
        keep_freed_memory()
    rows = []
    for precision in (p for p in precisions if p in precisions_of(device)):
        for length in lengths:
            for width in widths:
                for work in works:
                    rows.append(measured(Case(work, precision, width, length, batch_size, device), repeats))
                    done(rows[-1])
    return tables.checked(pd.DataFrame(rows), tables.STEP_BENCHMARK)

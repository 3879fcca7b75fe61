"""Measure all systems in one run: each in its own process on one core, their repeats in turn."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import wced
from speed.generate import write_data
from speed.machine import Usage, usage
from speed.systems import BATCH_SIZE, BATCH_WORKS, SYSTEMS, WORKS, System, lengths_of, protocol_of
from wced import tables
from wced.errors import WcedError
from wced.files import whole_folder

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)
PATIENCE_SECONDS = 1200
"""How long an answer may take before the process is killed."""
SAMPLE_SECONDS = 0.02
"""Time between two looks at the memory of a process."""


class Child:
    """A process that does one work of one system, and its largest memory so far."""

    def __init__(self, python: str | Path, job: dict[str, Any], modules: Path, log: Path) -> None:
        """Start it; it imports `wced` and `speed` from the folder `modules` and writes its messages to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [str(python), "-m", "speed.child", json.dumps(job)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=os.environ | ONE_THREAD | {"PYTHONPATH": str(modules)},
            )  # fmt: skip
        self._log = log
        self.peak = Usage(0.0, 0.0)
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.peak = Usage(*map(max, self.peak, usage(self._process.pid)))

    def answer(self) -> dict[str, Any]:
        """Wait for its next answer; if it ends or is killed without one, the answer is the reason."""
        patience = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        patience.start()
        line = self._process.stdout.readline()
        patience.cancel()
        if line:
            return json.loads(line)
        *_, last = ["no message", *self._log.read_text().strip().splitlines()]
        return {"reason": f"its process ended with status {self._process.wait()}: {last}"}

    def repeat(self) -> dict[str, Any]:
        """Let it do one timed repeat."""
        with contextlib.suppress(BrokenPipeError):  # it has ended; its answer is the reason
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        """Let it end, and stop watching."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._ended.set()
        self._watcher.join()


def _measured(child: Child, ready: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the measured columns of a row."""
    rates = [result["cells"] / result["seconds"] for result in results]
    batch, full = (np.mean([result[name] for result in results]) for name in ("batch_entropy", "full_shuffle_entropy"))
    return {
        "cells": sum(result["cells"] for result in results),
        "repeats": len(results),
        "cells_per_second": np.median(rates),
        "min": min(rates),
        "max": max(rates),
        "tokens_per_second": np.median([result["tokens"] / result["seconds"] for result in results]),
        "peak_mb": child.peak.resident,
        "grown_mb": child.peak.anonymous - ready["anonymous_before"],
        "batch_entropy": batch,
        "full_shuffle_entropy": full,
        "entropy_ratio": batch / full if full else np.nan,
    }


class Bench:
    """The settings of a run, and the systems that cannot be measured."""

    def __init__(self, folder: Path, peers_python: Path, modules: Path, seconds: float, device: str) -> None:
        """Take the folder of data and logs, and the folder `modules` on the import path of children."""
        self.folder, self.peers_python, self.modules = folder, peers_python, modules
        self.seconds, self.device = seconds, device
        self.data = folder / "data"
        self.core = max(os.sched_getaffinity(0))
        self.reasons: dict[str, str] = {}

    def start(self, system: System, work: str, length: int = 0, **extra: Any) -> Child:
        """Start the process of a system for one work."""
        job = {
            "system": system.name, "package": system.package, "modules": system.modules, "workers": system.workers,
            "core": None if system.workers else self.core, "work": work, "length": length, "device": self.device,
            "data": str(self.data), "seconds": self.seconds,
            "warm": min(self.seconds, 1.0) if work in BATCH_WORKS else 0.0, **extra,
        }  # fmt: skip
        log = self.folder / "logs" / f"{work}-{length}-{system.name}.log"
        return Child(self.peers_python if system.peers else sys.executable, job, self.modules, log)

    def prepare(self, system: System) -> None:
        """Let a system write the store that it reads, unless it exists; note the reason if that fails."""
        if system.peers and not self.peers_python.exists():
            self.reasons[system.name] = "the peers' environment (envs/peers.lock) could not be made"
        elif system.prepares and not (self.data / system.name).exists():
            try:
                with whole_folder(self.data / system.name) as folder:
                    child = self.start(system, "prepare", folder=str(folder))
                    answer = child.answer()
                    child.end()
                    if "reason" in answer:
                        raise WcedError(f"its store could not be written: {answer['reason']}")
            except WcedError as failure:
                self.reasons[system.name] = str(failure)

    def measure(self, systems: Sequence[System], work: str, length: int, repeats: int) -> list[dict[str, Any]]:
        """Return the rows of one work: all systems are opened one after the other, then each does a repeat in turn."""
        children, answers = {}, {}
        for system in systems:
            if system.name in self.reasons:
                answers[system.name] = [{"reason": self.reasons[system.name]}]
                continue
            children[system.name] = self.start(system, work, length)
            answers[system.name] = [children[system.name].answer()]
        for _ in range(repeats):
            for name, child in children.items():
                if "reason" not in answers[name][-1]:
                    answers[name].append(child.repeat())
        for child in children.values():
            child.end()
        rows = []
        for system in systems:
            ready, *results = answers[system.name]
            reason = answers[system.name][-1].get("reason", "")
            row = {
                "work": work, "system": system.name, "version": ready.get("version", ""), "length": length,
                "device": self.device, "batch_size": BATCH_SIZE, "workers": system.workers, "cells": 0, "repeats": 0,
                "protocol": protocol_of(system, work), "reason": reason,
            }  # fmt: skip
            if not reason:
                row |= _measured(children[system.name], ready, results)
            rows.append(row)
            outcome = reason or f"{row['cells_per_second']:,.0f} cells/s"
            print(f"{work} {length or ''} {system.name}: {outcome}", flush=True)
        return rows


def throughput(
    output: str | Path, folder: str | Path, *, cells: int, repeats: int, seconds: float, seed: int,
    peers_python: str | Path, systems: Sequence[str] = (), works: Sequence[str] = WORKS,
    lengths: Sequence[int] = (512, 2048, 8192), device: str = "cpu",
) -> pd.DataFrame:  # fmt: skip
    """Measure systems beside each other and write the table (`wced.tables.THROUGHPUT`).

    The parameters are the options of the command; no `systems` means all. Raises WcedError if a system or work does not
    exist, or the operating system cannot pin processes to a core.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise WcedError("throughput: this operating system cannot pin processes to one core; use Linux")
    for what, names, known in (("system", systems, [s.name for s in SYSTEMS]), ("work", works, WORKS)):
        for name in names:
            if name not in known:
                raise WcedError(f"throughput: no {what} {name}; there are {', '.join(known)}")
    chosen = [s for s in SYSTEMS if not systems or s.name in systems]
    folder = Path(folder)
    write_data(folder / "data", cells, seed)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as modules:
        # Only `wced` and `speed`: the other packages of this environment are not those of the peers.
        for package in (Path(wced.__file__).parent, Path(__file__).parent):
            (Path(modules) / package.name).symlink_to(package)
        bench = Bench(folder, Path(peers_python), Path(modules), seconds, device)
        for system in chosen:
            bench.prepare(system)
        for work in (w for w in WORKS if w in works):
            able = [system for system in chosen if work in system.works]
            for length in lengths_of(work, lengths):
                rows += bench.measure(able, work, length, repeats)
    frame = pd.DataFrame(rows, columns=[name for name in tables.THROUGHPUT.names if name != "ratio_of_ours"])
    key = ["work", "length", "device"]
    ours = frame[frame["system"] == "ours"].set_index(key)["cells_per_second"].rename("ours")
    frame["ratio_of_ours"] = frame.join(ours, on=key)["ours"] / frame["cells_per_second"]
    tables.write(frame, tables.THROUGHPUT, output)
    return frame

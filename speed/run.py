"""Measure all systems in one run: each in a process of its own on one core, their repeats in turn."""

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
from speed.systems import BATCH_SIZE, BATCH_WORKS, LENGTHS, SYSTEMS, WORKS, System, lengths_of, protocol_of
from wced import tables
from wced.errors import WcedError
from wced.files import whole_folder

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)

MEASURED = (
    *("cells_per_second", "min", "max", "tokens_per_second", "peak_mb", "grown_mb"),
    *("batch_entropy", "full_shuffle_entropy", "entropy_ratio"),
)
"""Columns that are empty where there is a reason."""

PATIENCE_SECONDS = 1200
"""How long an answer may take before the process is ended."""

SAMPLE_SECONDS = 0.02
"""How often the memory of a process is looked at."""


class Child:
    """A process that does one work of one system, and the memory that it was seen to use."""

    def __init__(self, python: str | Path, job: dict[str, Any], modules: Path, log: Path) -> None:
        """Start it; `modules` is the folder from which it imports `wced` and `speed`, `log` takes what it says."""
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
            seen = usage(self._process.pid)
            self.peak = Usage(*map(max, self.peak, seen))

    def answer(self) -> dict[str, Any]:
        """Wait for its next answer; one that ended without a word, or has to be ended, answers with the reason."""
        patience = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        patience.start()
        line = self._process.stdout.readline()
        patience.cancel()
        if line:
            return json.loads(line)
        said = self._log.read_text().strip().splitlines()
        return {"reason": f"its process ended with status {self._process.wait()}: {said[-1] if said else 'no message'}"}

    def repeat(self) -> dict[str, Any]:
        """Let it do one timed repeat."""
        with contextlib.suppress(BrokenPipeError):  # it has ended; its answer says why
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


def _row(
    system: System,
    work: str,
    length: int,
    device: str,
    child: Child,
    ready: dict[str, Any],
    results: list[dict],
) -> dict[str, Any]:
    failed = next((answer["reason"] for answer in (ready, *results) if "reason" in answer), "")
    row: dict[str, Any] = {
        "work": work, "system": system.name, "version": ready.get("version", ""), "length": length, "device": device,
        "batch_size": BATCH_SIZE, "workers": system.workers, "cells": 0, "repeats": 0,
        "protocol": protocol_of(system, work), "reason": failed,
    }  # fmt: skip
    if failed:
        return row | dict.fromkeys(MEASURED, np.nan)
    rates = [result["cells"] / result["seconds"] for result in results]
    row |= {
        "cells": sum(result["cells"] for result in results),
        "repeats": len(results),
        "cells_per_second": np.median(rates),
        "min": min(rates),
        "max": max(rates),
        "tokens_per_second": np.median([result["tokens"] / result["seconds"] for result in results]),
        "peak_mb": child.peak.resident,
        "grown_mb": child.peak.anonymous - ready["anonymous_before"],
    }
    for name in ("batch_entropy", "full_shuffle_entropy"):
        row[name] = np.mean([result[name] for result in results])
    row["entropy_ratio"] = row["batch_entropy"] / row["full_shuffle_entropy"] if row["full_shuffle_entropy"] else np.nan
    return row


class Bench:
    """Everything that a run of the benchmark knows."""

    def __init__(self, folder: Path, peers_python: Path, modules: Path, seconds: float, device: str) -> None:
        """Remember where data and logs go (`folder`), and what is on the import path of children (`modules`)."""
        self.folder, self.peers_python, self.modules = folder, peers_python, modules
        self.seconds, self.device = seconds, device
        self.data = folder / "data"
        self.core = max(os.sched_getaffinity(0))
        self.lacking: dict[str, str] = {}

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
        """Let a system write the store that it reads, unless it is there; note the reason if that fails."""
        if (self.data / system.name).exists():
            return
        try:
            with whole_folder(self.data / system.name) as folder:
                child = self.start(system, "prepare", folder=str(folder))
                answer = child.answer()
                child.end()
                if "reason" in answer:
                    raise WcedError(f"its store could not be written: {answer['reason']}")
        except WcedError as failure:
            self.lacking[system.name] = str(failure)

    def measure(self, systems: Sequence[System], work: str, length: int, repeats: int) -> list[dict]:
        """Measure one work: open all systems one after the other, then let each do one repeat in turn."""
        children, ready, results = {}, {}, {system.name: [] for system in systems}
        for system in systems:
            if system.name in self.lacking:
                ready[system.name] = {"reason": self.lacking[system.name]}
                continue
            children[system.name] = self.start(system, work, length)
            ready[system.name] = children[system.name].answer()
        for _ in range(repeats):
            for name, child in children.items():
                if "reason" not in (ready[name], *results[name])[-1]:
                    results[name].append(child.repeat())
        for child in children.values():
            child.end()
        return [
            _row(s, work, length, self.device, children.get(s.name), ready[s.name], results[s.name]) for s in systems
        ]


def throughput(
    output: str | Path, folder: str | Path, *, cells: int, repeats: int, seconds: float, seed: int,
    peers_python: str | Path, systems: Sequence[str] = (), works: Sequence[str] = WORKS,
    lengths: Sequence[int] = LENGTHS, device: str = "cpu",
) -> pd.DataFrame:  # fmt: skip
    """Measure systems beside each other and write the table.

    Parameters
    ----------
    output
        Table to write (`wced.tables.THROUGHPUT`).
    folder
        Where the generated cells and the logs go; cells that stand there are used again.
    cells
        Number of generated cells.
    repeats
        Timed repeats of each system, work and length; the systems take turns.
    seconds
        How long a repeat lasts at least; it ends with an epoch or where a buffer is empty.
    seed
        Seed of the cells.
    peers_python
        Python of the environment that has the other loaders (envs/peers.lock).
    systems, works, lengths
        What to measure; no systems means all.
    device
        Where the dense form of the target is made.

    Raises
    ------
    WcedError
        If there is no such system or work, or this system cannot pin processes to a core.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise WcedError(
            "throughput: processes are pinned to one core, which this operating system cannot do; use Linux"
        )
    for what, asked, known in (("system", systems, [s.name for s in SYSTEMS]), ("work", works, WORKS)):
        for name in asked:
            if name not in known:
                raise WcedError(f"throughput: no {what} {name}; there are {', '.join(known)}")
    chosen = [s for s in SYSTEMS if not systems or s.name in systems]
    folder = Path(folder)
    write_data(folder / "data", cells, seed)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as modules:
        # Only `wced` is imported from here: the other packages of this environment are not those of the peers'.
        for package in (Path(wced.__file__).parent, Path(__file__).parent):
            (Path(modules) / package.name).symlink_to(package)
        bench = Bench(folder, Path(peers_python), Path(modules), seconds, device)
        for system in chosen:
            if system.peers and not bench.peers_python.exists():
                bench.lacking[system.name] = "the peers' environment (envs/peers.lock) could not be made"
            elif system.prepares:
                bench.prepare(system)
        for work in (w for w in WORKS if w in works):
            able = [system for system in chosen if work in system.works]
            for length in lengths_of(work, tuple(lengths)):
                made = bench.measure(able, work, length, repeats)
                rows += made
                for row in made:
                    said = row["reason"] or f"{row['cells_per_second']:,.0f} cells/s"
                    print(f"{work} {length or ''} {row['system']}: {said}", flush=True)
    frame = pd.DataFrame(rows)
    frame["ratio_of_ours"] = _ratio_of_ours(frame)
    tables.write(frame, tables.THROUGHPUT, output)
    return frame


def _ratio_of_ours(frame: pd.DataFrame) -> pd.Series:
    """Return how many times as fast as each row's system ours is at the same work and length."""
    key = ["work", "length", "device"]
    ours = frame[frame["system"] == "ours"].set_index(key)["cells_per_second"].rename("ours")
    return frame.join(ours, on=key)["ours"] / frame["cells_per_second"]

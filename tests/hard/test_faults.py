"""A run whose stages are killed, have no disk, cannot write or lack an input ends like an undisturbed one."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from generated import write_generated_run
from hard.running import collection, provenance, write_config
from hard.saboteur import OUTPUTS, TIMED, standing
from planning import ROOT, environment, results
from wced import tables

SEED = 1
KILLS, OTHERS = ("SIGKILL", "SIGTERM"), ("full disk", "read-only folder", "vanished input")
"""Faults. A stage of one job gets both kills and one of the others, in turn; the jobs of other stages share all."""
KILLED_SESSIONS = 2
"""How often all of Snakemake is also killed."""
ONE_OF_EACH = {
    "shard": ["SIGTERM", "full disk"],
    "shard-index": ["read-only folder", "vanished input"],
    "pretrain": ["SIGKILL"],
}
"""The faults of stages when each kind occurs once."""
EVIL = "<script>alert(1)</script>"
"""A label that reaches the report."""


def small_run(folder: Path) -> Path:
    """Write the smallest run that has every stage; return its config's path."""
    path = write_generated_run(
        folder,
        census={"datasets": ["blood_symbols", "spleen_ensembl"]},
        embedding={"datasets": ["held_blood"], "concat": [], "untrained": None, "baselines": []},
        pretraining={"save_every_minutes": 1e-4},
    )
    run = yaml.safe_load(path.read_text())
    run["sources"]["archives"] = str(folder / "archives")  # runs differ only in the folder of results
    checkpoint = run["pretraining"]["checkpoints"]["wced_multitask"] | {"epochs": 2}
    run["pretraining"]["checkpoints"] = {"wced_multitask": checkpoint}
    run["benchmarks"] = {
        task: {"datasets": ["held_blood"]} for task in ("zero_shot_integration", "zero_shot_annotation")
    }
    path.write_text(yaml.safe_dump(run, sort_keys=False))
    table = path.with_name("datasets.tsv")
    text = table.read_text().replace("Generated: held_blood", f"Generated: {EVIL}")
    table.write_text(text.replace("obs.batch", f"obs.batch|b1={EVIL}"))
    return path


def prepared(faults: Path) -> Path:
    """Make the saboteur's folder."""
    for name in ("bin", "plans", "jobs", "met"):
        (faults / name).mkdir(parents=True)
    code = f"import sys\nsys.path.insert(0, {str(ROOT / 'tests')!r})\nfrom hard.saboteur import main\n"
    stub = faults / "bin/wced"
    stub.write_text(f"#!{sys.executable}\n{code}sys.exit(main())\n")
    stub.chmod(0o755)
    return faults


def start(config: Path, faults: Path, log: Path, *more: str) -> subprocess.Popen[str]:
    """Start Snakemake with the saboteur as `wced`."""
    variables = environment(WCED_FAULTS=str(faults), WCED_FAULTS_OUT=str(results(config)))
    variables["PATH"] = f"{faults / 'bin'}{os.pathsep}{variables['PATH']}"
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(config.parent),
        "--profile", str(ROOT / "profiles/local"), "--cores", "2", "--retries", str(len(KILLS) + len(OTHERS)),
        "--configfile", str(config), *more,
    ]  # fmt: skip
    with log.open("w") as stream:
        return subprocess.Popen(command, env=variables, stdout=stream, stderr=stream, text=True, start_new_session=True)


def inputs(words: list[str]) -> list[int]:
    """Return the indices of the words of a command that are files and folders to read."""
    written = (*OUTPUTS, "--state")
    return [
        i
        for i, word in enumerate(words)
        if i and words[i - 1] not in written and word.startswith("/") and Path(word).exists()
    ]


def largest(words: list[str]) -> int:
    """Return the size of the largest file that a job has written."""
    own = set(OUTPUTS) - {"--tables"}  # a folder that other jobs write to as well
    written = [Path(path) for option, path in itertools.pairwise(words) if option in own]
    return max(file.stat().st_size for path in written for file in [path, *path.rglob("*")] if file.is_file())


def sample_fault(kind: str, job: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Return a fault of a kind, at a random moment, size or input."""
    words = job["words"]
    if kind in KILLS:
        return {"kind": kind, "seconds": job["seconds"] * rng.random()}
    if kind == "full disk":
        return {"kind": kind, "bytes": int(rng.integers(largest(words)))}
    if kind == "vanished input":
        return {"kind": kind, "word": int(rng.choice(inputs(words)))}
    return {"kind": kind}


def plan(jobs: dict[str, dict[str, Any]], faults: Path) -> int:
    """Sample the faults of every job of an undisturbed run and write them; return their number."""
    rng, turn, n = np.random.default_rng(SEED), 0, 0
    stages: dict[str, list[str]] = {}
    for name, job in sorted(jobs.items()):
        stages.setdefault(job["words"][0], []).append(name)
    for names in stages.values():
        kinds = [*KILLS, *OTHERS]
        if len(names) == 1:
            possible = [kind for kind in OTHERS if kind != "vanished input" or inputs(jobs[names[0]]["words"])]
            kinds, turn = [*KILLS, possible[turn % len(possible)]], turn + 1
        rng.shuffle(kinds)
        for i, name in enumerate(names):
            sampled = [sample_fault(kind, jobs[name], rng) for kind in kinds[i :: len(names)]]
            (faults / "plans" / f"{name}.json").write_text(json.dumps(sampled))
            n += len(sampled)
    return n


def write_plans(plans: dict[str, list[dict[str, Any]]], faults: Path) -> None:
    """Write the remaining faults of every job; a killed session may lose the record of one that happened."""
    for name, plan in plans.items():
        left = [fault for i, fault in enumerate(plan) if not (faults / f"met/{name}.{len(plan) - i}.json").exists()]
        (faults / f"plans/{name}.json").write_text(json.dumps(left))


def read_all(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def finish(config: Path, faults: Path, *more: str) -> str:
    """Run Snakemake to its end; return its output."""
    log = config.with_name("snakemake.log")
    assert start(config, faults, log, *more).wait() == 0, log.read_text()[-8000:]
    return log.read_text()


def kill_a_session(config: Path, faults: Path, finished: int, seconds: float, *more: str) -> None:
    """Run Snakemake until so many jobs have finished and some seconds more; kill it and all its processes."""
    log = config.with_name("snakemake.log")
    session = start(config, faults, log, *more)
    while len(re.findall(r"^Finished jobid:", log.read_text(), re.M)) < finished:
        assert session.poll() is None, log.read_text()[-8000:]
        time.sleep(0.05)
    time.sleep(seconds)
    os.killpg(session.pid, signal.SIGKILL)
    session.wait()


@dataclass(frozen=True)
class State:
    """The outputs of a run."""

    files: dict[str, str]
    """SHA-256 of every output."""
    records: dict[str, dict[str, Any]]
    """Provenance of every output except those with times."""
    collection: dict[str, pd.DataFrame]
    """Content of the collection."""


def state(out: Path) -> State:
    """Return the outputs of the run in a folder."""
    records = provenance(out)
    for name in TIMED:
        records.pop(f"{name}.provenance.json", None)
    return State(standing(out), records, collection(out / "corpus/census"))


def assert_no_trace(config: Path, faults: Path, undisturbed: State, *more: str) -> None:
    """Assert that every fault left all files whole and gave a sentence, and that the run equals an undisturbed one.

    `more` are the words with which Snakemake was started.
    """
    met = read_all(faults / "met")
    print(f"{len(met)} faults: {dict(Counter(fault['kind'] for fault in met.values()))}")
    for name, fault in met.items():
        assert not fault["torn"], (name, fault)
        if fault["kind"] not in KILLS:
            sentence = fault["said"].rstrip("\n").rpartition("\n")[2]
            assert sentence.startswith("wced: "), (name, fault)
            # HDF5 reports what it cannot write, and may crash when the process ends, after the sentence.
            hdf5 = fault["kind"] == "full disk" and "h5py/_objects.pyx" in fault["said"]
            assert fault["status"] == 1 or (hdf5 and fault["status"] == -signal.SIGSEGV), (name, fault)
            assert hdf5 or "Traceback" not in fault["said"], (name, fault)
            assert "unexpected" not in sentence, (name, fault)
            assert not fault["left"], (name, fault)
        if fault["kind"] == "vanished input":
            assert Path(fault["words"][fault["word"]]).name in sentence, (name, fault)

    out = results(config)
    now = state(out)
    assert now.files == undisturbed.files
    assert now.records == undisturbed.records
    for name, frame in undisturbed.collection.items():
        pd.testing.assert_frame_equal(now.collection[name], frame, obj=name)
    assert not any(out.glob("state/*")) and not any(out.rglob(".*.*"))
    assert "Nothing to be done" in finish(config, faults, *more)


@pytest.mark.hard
def test_one_fault_of_each_kind_leaves_no_trace(tmp_path):
    """Shards and a training are made, deleted, and made again with faults, in a session that is killed too."""
    config, peace, faults = small_run(tmp_path), prepared(tmp_path / "peace"), prepared(tmp_path / "faults")
    out, more = results(config), ("--nolock", "--", str(results(config) / "pretraining/wced_multitask"))
    finish(config, peace, *more)
    undisturbed, jobs, rng = state(out), read_all(peace / "jobs"), np.random.default_rng(SEED)
    (faults / "reference.json").write_text(json.dumps(undisturbed.files))
    plans = {}
    for stage, kinds in ONE_OF_EACH.items():
        name, job = next((name, job) for name, job in jobs.items() if job["words"][0] == stage)
        plans[name] = [sample_fault(kind, job, rng) for kind in kinds]
    for path in [*out.glob("shards/shard-*"), *out.glob("shards/index.json*")]:
        path.unlink()
    shutil.rmtree(out / "pretraining")

    write_plans(plans, faults)
    kill_a_session(config, faults, 1, rng.random(), *more)
    write_plans(plans, faults)
    finish(config, faults, *more)
    assert Counter(fault["kind"] for fault in read_all(faults / "met").values()) == Counter([*KILLS, *OTHERS])
    assert_no_trace(config, faults, undisturbed, *more)


@pytest.mark.release(part="faults")
def test_faults_of_every_stage_leave_no_trace(tmp_path):
    (tmp_path / "undisturbed").mkdir()
    undisturbed = small_run(tmp_path / "undisturbed")
    finish(undisturbed, prepared(tmp_path / "peace"))
    reference, jobs = results(undisturbed), read_all(tmp_path / "peace/jobs")

    config = write_config(tmp_path / "run/config.yaml", undisturbed, results=str(tmp_path / "run"))
    faults, rng = prepared(tmp_path / "faults"), np.random.default_rng(SEED)
    (faults / "reference.json").write_text(json.dumps(standing(reference)))
    n = plan(jobs, faults)
    for _ in range(KILLED_SESSIONS):
        kill_a_session(config, faults, int(rng.integers(5, 11)), 3 * rng.random(), "--nolock")
    finish(config, faults, "--nolock")

    met = read_all(faults / "met")
    # A job that is done before its fault comes is not run again, and a killed session takes records with it.
    assert len(met) >= 0.8 * n
    assert {fault["words"][0] for fault in met.values()} == {job["words"][0] for job in jobs.values()}
    assert_no_trace(config, faults, state(reference), "--nolock")

    out = results(config)
    for folder in (out, reference):
        assert all((folder / place).exists() and (folder / f"{place}.provenance.json").exists() for place in TIMED)
    timings = [tables.read(tables.TIMINGS, folder / TIMED[0])["job"] for folder in (out, reference)]
    assert set(timings[0]) == set(timings[1])
    page = (out / TIMED[1]).read_text()
    assert EVIL not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page

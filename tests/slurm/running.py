"""Snakemake with the profile `slurm`, as a user runs it, and the generated run that the tests give it."""

import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from generated import write_generated_run
from planning import ROOT, environment, results

# The executor plugin asks for the state of jobs ten seconds later each time that none has ended; these end in seconds.
SNAKEMAKE = """\
import snakemake_executor_plugin_slurm as plugin
from snakemake.cli import main
plugin.Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
main()
"""

TASK = "zero_shot_annotation"


def write_run(folder: Path, **changes: Any) -> Path:
    """Write the smallest run that has a job of nearly every rule, with a training in two processes."""
    path = write_generated_run(folder)
    run = yaml.safe_load(path.read_text())
    run["census"]["datasets"] = ["blood_symbols"]
    run["shards"] = {"count": 1}
    training = run["pretraining"]["checkpoints"]["wced_multitask"]
    training |= {"epochs": 12, "batch_size": 16}
    run["pretraining"] |= {"checkpoints": {"trained": training}, "devices": 2, "progress_every": 1}
    run["embedding"] |= {"datasets": ["held_blood"], "baselines": ["pca"], "concat": [], "untrained": None}
    run["benchmarks"] = {TASK: {"datasets": ["held_blood"]}}
    path.write_text(yaml.safe_dump(run | changes))
    return path


def training_log(config: Path) -> Path:
    """Return the log of the run's training."""
    return results(config) / "logs/pretrain/trained.log"


def epoch(config: Path) -> int:
    """Return the epoch in which the training is, 0 before its first step."""
    log = training_log(config)
    steps = re.findall(r"^epoch (\d+) step", log.read_text(), re.M) if log.exists() else []
    return int(steps[-1]) if steps else 0


def variables_of(pid: int) -> dict[str, str]:
    """Return the environment variables with which a process of this machine started."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def processes(**wanted: str) -> list[int]:
    """Return the ids of the processes of this machine that have these environment variables."""
    ids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if wanted.items() <= variables_of(int(folder.name)).items():
                ids.append(int(folder.name))
    return ids


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def start(config: Path, *more: str, log: Path, profile: str = "slurm") -> subprocess.Popen[bytes]:
    """Start Snakemake from the checkout; its own folder is beside the config."""
    arguments = ["--profile", profile, "--directory", str(config.parent), "--latency-wait", "10"]
    if profile == "slurm":
        arguments += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
    with log.open("w") as stream:
        return subprocess.Popen(
            [sys.executable, "-c", SNAKEMAKE, *arguments, "--configfile", str(config), *more],
            cwd=ROOT, env=environment(), stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip


def finish(process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    """Wait until Snakemake has finished everything."""
    assert process.wait(seconds) == 0, log.read_text()[-8000:]

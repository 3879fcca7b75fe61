"""Plans of Snakemake in forks of a process that has its imports: in one second, not four; and what all runs share."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def environment(**changes: str) -> dict[str, str]:
    """Return environment variables with which rules find the `wced` of this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path} | changes


def results(config: Path) -> Path:
    """Return the folder of a config's run."""
    run = yaml.safe_load(config.read_text())
    return Path(run["results"]) / run["run"]


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli", "snakemake.workflow", "wced.config", "wced.corpus.availability"])


def snakemake(*arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Plan with Snakemake in a folder; its output has both streams. Jobs would not find the commands."""
    words = [*map(str, arguments)]
    with tempfile.NamedTemporaryFile("r") as log:
        fork = FORKS.Process(target=_run, args=(words, folder, log.name))
        fork.start()
        fork.join()
        return subprocess.CompletedProcess(words, fork.exitcode, log.read())


def _run(words: list[str], folder: Path, log: str) -> None:
    from snakemake.cli import main

    descriptor = os.open(log, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    sys.argv = ["snakemake", *words]
    main(words)

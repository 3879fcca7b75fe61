"""Snakemake in forks of one process that has imported what its rules import: a plan takes a second, and not four."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli", "snakemake.workflow", "wced.config", "wced.corpus.availability"])


def snakemake(*arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a folder; its output holds both streams. For plans: jobs would not find the commands."""
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

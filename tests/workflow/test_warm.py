"""Whether Snakemake starts a warm process for the commands of its jobs."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from generated import write_generated_run
from planning import ROOT, environment

STAND_IN = f"""\
#!{sys.executable}
import os, sys
from wced.cli import warm
with open(sys.argv[0] + ".said", "a") as said:
    print(os.environ.get(warm.VARIABLE, "none"), file=said)
sys.exit(1)
"""


@pytest.fixture
def started(tmp_path):
    """Run Snakemake with a `wced` that fails at once; return the name of the warm process that it got."""
    config = write_generated_run(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/wced").write_text(STAND_IN)
    (tmp_path / "bin/wced").chmod(0o755)

    def run(*words, **own):
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path,
             "--configfile", config, "--cores", "1", *words],
            env=environment() | {"PATH": path} | own, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        return (tmp_path / "bin/wced.said").read_text().splitlines()[-1]

    return run


def test_the_commands_of_a_run_get_a_warm_process_that_ends_with_it(started):
    name = started()
    assert name.startswith("wced-")
    limit = time.monotonic() + 30
    while name in Path("/proc/net/unix").read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_the_variable_disables_the_warm_process(started):
    assert started(WCED_WARM="0") == "0"

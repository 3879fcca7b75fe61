"""Kill -9 of a whole run, again and again: outputs are always whole, and in the end those of an undisturbed run."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hard.running import assert_same_run, command, first_half, outputs, unfinished, write_config
from planning import environment, results
from wced.report.records import timings

KILLS = 20
START = 1.0
"""Seconds until a job starts to work, about."""
SEED = 1


@dataclass(frozen=True)
class Moment:
    """When to kill."""

    finished: int
    """How many jobs may finish first."""
    writing: bool
    """Whether to wait until an output is being written."""
    fraction: float
    """How far through the job, or (while writing) through a twentieth of a second."""


def moments() -> list[Moment]:
    rng = np.random.default_rng(SEED)
    return [Moment(int(rng.integers(2)), number % 3 == 2, rng.random()) for number in range(KILLS)]


def jobs(log: Path) -> tuple[list[str], list[str]]:
    """Return the rules that Snakemake has started and those that it has finished, one per job."""
    text = log.read_text()
    return re.findall(r"^localrule (\w+):", text, re.M), re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", text, re.M)


def durations(out: Path) -> dict[str, float]:
    """Return the seconds that a job of each rule took."""
    longest = {"archive": START}  # of several runs, so not recorded in this one
    for job, seconds in timings(out)[["job", "seconds"]].itertuples(index=False):
        rule = job.split()[0].replace("-", "_")
        longest[rule] = max(longest.get(rule, 0), START + seconds)
    return longest


def run_until(moment: Moment, config: Path, seconds: dict[str, float], *more: str) -> Counter[str] | None:
    """Run the first half and kill everything at a moment; return the rules that were running, None if it ended."""
    log, out = config.with_name("snakemake.log"), results(config)
    before = unfinished(out)
    with (
        log.open("w") as stream,
        subprocess.Popen(
            command(config, *more), env=environment(), stdout=stream, stderr=stream, start_new_session=True
        ) as run,
    ):

        def wait(ready) -> bool:
            while not ready():
                if run.poll() is not None:
                    return False
                time.sleep(0.005)
            return True

        def running() -> Counter[str]:
            started, finished = jobs(log)
            return Counter(started) - Counter(finished) if len(finished) >= moment.finished else Counter()

        started = wait(running)
        if started and moment.writing:
            wait(lambda: unfinished(out) - before)
            time.sleep(0.05 * moment.fraction)
        elif started:
            time.sleep(moment.fraction * max(seconds[rule] for rule in running() or seconds))
        if run.poll() is not None:
            assert run.returncode == 0, log.read_text()[-8000:]
            return None
        hit = running()
        os.killpg(run.pid, signal.SIGKILL)
    return hit


@pytest.mark.release(part="faults")
def test_twenty_kills_leave_no_trace(undisturbed, tmp_path):
    reference = results(undisturbed)
    whole, seconds = outputs(reference), durations(reference)
    hits: list[Counter[str]] = []
    chain, lock = 0, ()

    def new_run() -> Path:
        return write_config(tmp_path / f"run-{chain}/config.yaml", undisturbed, results=str(tmp_path / f"run-{chain}"))

    config = new_run()
    for moment in moments():
        while (hit := run_until(moment, config, seconds, *lock)) is None:
            assert_same_run(results(config), reference)
            assert not unfinished(results(config))
            chain += 1
            config = new_run()
        hits.append(hit)
        done = outputs(results(config))
        assert done.items() <= whole.items(), done.items() - whole.items()
        if not lock:
            # As a user: the killed Snakemake left its lock, which the next one reports.
            refused = first_half(config, check=False)
            assert refused.returncode != 0 and "--unlock" in refused.stdout
            first_half(config, "--unlock")
            lock = ("--nolock",)
    first_half(config, *lock)
    assert_same_run(results(config), reference)
    assert not unfinished(results(config))
    assert "Nothing to be done" in first_half(config, *lock).stdout
    rules = set().union(*hits)
    print(f"{KILLS} kills in {chain + 1} runs hit {dict(sum(hits, Counter()))}")
    assert len(rules) >= 5, rules

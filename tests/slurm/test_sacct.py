"""What Snakemake makes of sacct's answers, which clusters with accounting give; the lines are of sacct's format."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from types import SimpleNamespace

from snakemake_executor_plugin_slurm import Executor, ExecutorSettings

ANSWER = """\
8183088|FAILED
8183089|COMPLETED
8183090|RUNNING
8183091|PENDING
8183092|REQUEUED
8183093|TIMEOUT
8183094|OUT_OF_MEMORY
8183095|PREEMPTED
8183096|CANCELLED by 1000
"""


class Recording(Executor):
    """The executor's status check, without Snakemake around it."""

    def __init__(self):
        self.workflow = SimpleNamespace(executor_settings=ExecutorSettings(status_command="sacct"))
        self.logger, self.run_uuid = logging.getLogger("test"), "run"
        self.status_rate_limiter = contextlib.nullcontext()
        self._next_seconds_between_status_checks, self._preemption_warning, self._failed_nodes = 1, False, set()
        self._status_query_calls = self._status_query_failures = 0
        self._status_query_total_seconds = self._status_query_max_seconds = 0.0
        self._status_query_min_seconds, self._status_query_cycle_rows = None, []
        self.succeeded, self.failed = [], {}

    def report_job_success(self, job):
        self.succeeded.append(job.external_jobid)

    def report_job_error(self, job, msg=None, aux_logs=None):
        self.failed[job.external_jobid] = (msg, aux_logs)


def test_jobs_end_fail_or_go_on_as_sacct_says(tmp_path, monkeypatch):
    (tmp_path / "answer").write_text(ANSWER)
    (tmp_path / "sacct").write_text(f'#!/bin/sh\ncase "$*" in *JobIdRaw*) cat {tmp_path}/answer;; esac\n')
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    numbers = [line.partition("|")[0] for line in ANSWER.splitlines()]
    jobs = [SimpleNamespace(external_jobid=number, aux={"slurm_logfile": Path(f"{number}.log")}) for number in numbers]
    executor = Recording()

    async def check():
        return [job.external_jobid async for job in executor.check_active_jobs(jobs)]

    # It does not see that a job was cancelled by somebody, as docs/clusters.md says.
    assert asyncio.run(check()) == ["8183090", "8183091", "8183092", "8183095", "8183096"]
    assert executor.succeeded == ["8183089"]
    assert set(executor.failed) == {"8183088", "8183093", "8183094"}
    message, logs = executor.failed["8183094"]
    assert "8183094" in message and "OUT_OF_MEMORY" in message and logs == ["8183094.log"]

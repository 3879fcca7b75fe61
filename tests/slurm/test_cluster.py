"""The whole DAG on a real Slurm, with a training in two processes that is stopped again and again."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from planning import ROOT, results
from slurm.cluster import commands, jobs, wait
from slurm.running import contents, epoch, finish, processes, start, training_log, variables_of, write_run
from wced import tables

pytestmark = pytest.mark.release(part="slurm")


@contextmanager
def snakemake(config: Path, *more: str, profile: str = "slurm") -> Iterator[None]:
    """Run Snakemake beside the block, which may disturb it; in the end it must have finished everything."""
    log = config.with_name("snakemake.log")
    run = start(config, *more, log=log, profile=profile)
    try:
        yield
        finish(run, log, 600)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text()[-8000:]}") from None
    finally:
        run.kill()


def training(config: Path, at: int) -> int:
    """Wait until the training has reached an epoch; return its job. Jobs of other rules may run beside it."""
    wait(lambda: epoch(config) >= at, 600, f"epoch {at}")
    (first,) = processes(RANK="0")
    return int(variables_of(first)["SLURM_JOB_ID"])


def ranks(job: int) -> list[int]:
    """Return the ids of the job's processes that train."""
    return [pid for rank in "01" for pid in processes(RANK=rank, SLURM_JOB_ID=str(job))]


@pytest.fixture(scope="module")
def disturbed(cluster, tmp_path_factory) -> Path:
    """Make a run whose training is pre-empted in its second epoch and killed in the fourth; return its config."""
    config = write_run(tmp_path_factory.mktemp("disturbed"))
    log = training_log(config)
    with snakemake(config):
        job = training(config, at=2)
        assert len(ranks(job)) == 2
        node = commands("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
        commands(
            "sbatch", "--partition=urgent", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"
        )
        wait(lambda: "SIGTERM: the training state is saved" in log.read_text(), 60, "SIGTERM at the training")
        wait(lambda: jobs().get(job) == "PENDING", 60, "the pre-empted job in the queue")
        assert list((results(config) / "state/trained").glob("*/last.ckpt"))

        wait(lambda: "resuming from" in log.read_text(), 300, "a training that goes on")
        assert training(config, at=4) == job
        assert log.read_text().count("vocabulary:") == 1  # the command ran once, whatever the number of GPUs
        os.kill(ranks(job)[0], signal.SIGKILL)
    return config


def with_its_cells(config: Path, folder: Path) -> Path:
    """Write the same run with results in another folder, which already has the corpus and the shards."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"results": str(folder / "results")}))
    for part in ("corpus", "shards"):
        shutil.copytree(results(config) / part, results(path) / part)
    return path


def tables_of(config: Path) -> dict[str, bytes]:
    """Return the tables of a run, except the one with times."""
    files = contents(results(config) / "tables").items()
    return {name: text for name, text in files if name.endswith(".tsv") and name != "timings.tsv"}


def test_a_training_that_is_preempted_and_killed_ends_like_an_undisturbed_one(disturbed, tmp_path):
    config = with_its_cells(disturbed, tmp_path)
    with snakemake(config, "--cores", "2", profile=str(ROOT / "profiles/local")):
        pass
    assert contents(results(disturbed) / "pretraining/trained") == contents(results(config) / "pretraining/trained")
    assert tables_of(disturbed) == tables_of(config)


def test_every_job_ran_on_the_cluster_and_the_killed_one_twice(disturbed):
    text = disturbed.with_name("snakemake.log").read_text()
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", text)
    done = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", text, re.M)
    assert len(set(submitted)) == len(submitted) == len([rule for rule in done if rule != "all"]) + 1
    assert text.count("Trying to restart") == 1  # the pre-empted job was queued again by Slurm, not by Snakemake
    assert len(tables.read(tables.TIMINGS, results(disturbed) / "tables/timings.tsv")) >= 20
    assert (results(disturbed) / "report/index.html").exists()


def test_two_machines_train_what_one_trains_and_save_on_sigterm(disturbed, tmp_path):
    config = with_its_cells(disturbed, tmp_path)
    folder = str(results(config) / "pretraining/trained")
    machines = ["nodes=2", "tasks=2", "mpi=srun", "gpu=0", "slurm_extra=--gpus-per-node=1", "slurm_partition=gpu"]
    with snakemake(config, "--set-resources", *[f"pretrain:{one}" for one in machines], "--", folder):
        job = training(config, at=2)
        assert commands("squeue", "--noheader", f"--jobs={job}", "--format=%D").strip() == "2"
        assert {pid for node in "01" for pid in processes(GROUP_RANK=node, SLURM_JOB_ID=str(job))} == set(ranks(job))
        commands("scancel", "--signal=TERM", job)
        wait(lambda: "SIGTERM: the training state is saved" in training_log(config).read_text(), 60, "SIGTERM")
        wait(lambda: job not in jobs(), 120, "the end of the job")
    assert "resuming from" in training_log(config).read_text()
    assert contents(results(disturbed) / "pretraining/trained") == contents(results(config) / "pretraining/trained")

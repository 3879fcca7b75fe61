"""Starting the processes of a training, with a stand-in for the command that they run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wced
from wced.config.pretraining import Pretraining
from wced.errors import WcedError
from wced.pretraining import launch
from wced.pretraining.train import pretrain

# What torchrun starts: each process does what its argument says.
STAND_IN = """\
import os, signal, sys, time
from pathlib import Path

what, rank = sys.argv[1], os.environ["RANK"]
if what == "save":
    signals = []
    signal.signal(signal.SIGTERM, lambda *_: signals.append(1))
    Path(f"ready-{rank}").touch()
    while not signals:
        time.sleep(0.02)
    time.sleep(1)
    Path(f"saved-{rank}").touch()
    sys.exit(143)
if what == "stay":
    from wced.pretraining.launch import end_with_parent
    end_with_parent()
    Path(f"ready-{rank}").write_text(str(os.getpid()))
    time.sleep(60)
if what == "threads":
    Path(f"threads-{rank}").write_text(os.environ["OMP_NUM_THREADS"])
if what == "status" and rank == "1":
    sys.exit(7)
if what == "killed" and rank == "1":
    os.kill(os.getpid(), signal.SIGKILL)
"""

PARENT = """\
import sys
from wced.errors import WcedError
from wced.pretraining.launch import launch
try:
    launch(sys.argv[1:], 2)
except WcedError as error:
    sys.exit(f"wced: {error}")
"""


@pytest.fixture
def parent(tmp_path):
    """Start two processes of the stand-in, in a folder of its own; ended with the test."""
    (tmp_path / "wced").mkdir()
    (tmp_path / "wced/__init__.py").write_text(f"__path__.append({str(Path(wced.__file__).parent)!r})")
    (tmp_path / "wced/__main__.py").write_text(STAND_IN)
    started = []

    def start(*words):
        # `python -m` looks into its working folder first; -P keeps the parent from doing so.
        command, environment = [sys.executable, "-P", "-c", PARENT, *words], os.environ | {"OMP_NUM_THREADS": "8"}
        with (tmp_path / "stderr").open("w") as stream:
            process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=stream)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition, process):
    limit = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.02)


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_processes_share_the_cores(parent, tmp_path):
    assert parent("threads").wait(60) == 0
    assert [(tmp_path / f"threads-{rank}").read_text() for rank in (0, 1)] == ["4", "4"]


def test_the_status_of_a_process_is_that_of_the_command(parent):
    assert parent("status").wait(60) == 7


def test_a_killed_process_is_reported_in_one_sentence(parent, tmp_path):
    assert parent("killed").wait(60) == 1
    log = (tmp_path / "stderr").read_text()
    assert "wced: process 1 of the training was killed by SIGKILL" in log and "Traceback" not in log


def test_sigterm_lets_every_process_save_even_when_it_comes_twice(parent, tmp_path):
    process = parent("save")
    wait_for(lambda: len(list(tmp_path.glob("ready-*"))) == 2, process)
    process.terminate()
    time.sleep(0.3)
    process.terminate()
    assert process.wait(60) == launch.STOPPED
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]


def test_processes_end_when_their_parent_is_killed(parent, tmp_path):
    process = parent("stay")
    ready = [tmp_path / "ready-0", tmp_path / "ready-1"]
    wait_for(lambda: all(path.exists() and path.read_text() for path in ready), process)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    limit = time.monotonic() + 10
    for pid in (int(path.read_text()) for path in ready):
        while runs(pid):
            assert time.monotonic() < limit, f"process {pid} goes on"
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("devices", "environment", "sentence"),
    [
        (3, {}, "3 devices do not spread evenly over 2 machines"),
        (2, {}, "this is no Slurm job, and only Slurm's srun can start a training on several"),
        (2, {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"}, "a step of a Slurm job.* the resource mpi=srun"),
    ],
    ids=["uneven", "no Slurm job", "a step"],
)
def test_machines_that_cannot_be_used_are_refused(monkeypatch, devices, environment, sentence):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WcedError, match=sentence):
        launch.launch(["pretrain"], devices, 2)


def test_a_training_of_several_devices_in_one_process_is_refused(tmp_path):
    section = Pretraining.model_validate({"checkpoints": {"m": {"wced": {}}}, "devices": 2})
    with pytest.raises(WcedError, match=r"pretraining\.devices: 2, but this is one of 1 process"):
        pretrain(tmp_path / "out", tmp_path / "shards", tmp_path / "state", section, "m", 0)

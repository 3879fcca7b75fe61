"""A Slurm cluster of this machine alone: munge, the controller and two nodes, which share its cores."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

SYSTEM = Path("/etc/slurm")
"""Where Slurm's commands look for their configuration; Snakemake's jobs do not hand SLURM_CONF on."""

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo"]

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# A job that is queued again waits as long as its old credentials are valid.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_min_interval=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=3600
ReturnToService=2
# Memory and GPUs are what the profile asks for, not what this machine has.
SlurmdParameters=config_overrides
GresTypes=gpu
# A job of the partition `urgent` has others of its node queued again.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=first NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=200000 Gres=gpu:2 Weight=2
NodeName=second NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=200000 Gres=gpu:2
PartitionName=cpu Nodes=first Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=gpu Nodes=first,second MaxTime=INFINITE PriorityTier=1
PartitionName=urgent Nodes=first,second MaxTime=INFINITE PriorityTier=2 PreemptMode=OFF
"""


def commands(*words: str | Path) -> str:
    """Run one of Slurm's commands; return what it prints."""
    return subprocess.run([*map(str, words)], capture_output=True, text=True, check=True).stdout


def jobs() -> dict[int, str]:
    """Return the state of every job that is not over."""
    rows = (line.split() for line in commands("squeue", "--noheader", "--format=%i %T").splitlines())
    return {int(number): state for number, state in rows}


def wait(condition, seconds: float, what: str) -> None:
    """Wait until a condition holds; fail after some seconds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{what}: not within {seconds} s"
        time.sleep(0.1)


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Run a cluster whose daemons keep everything in a folder, and stop them at the end."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    assert not missing and os.getuid() == 0, f"root and slurm-wlm and munge are needed; use tests/slurm/run ({missing})"
    for name in ("munge", "state", "spool-first", "spool-second"):
        (folder / name).mkdir()
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    (folder / "munge/key").write_bytes(os.urandom(1024))
    (folder / "munge/key").chmod(0o400)
    configuration = CONFIGURATION.format(folder=folder, host=socket.gethostname(), ports=ports)
    (folder / "slurm.conf").write_text(configuration)
    # To Slurm a GPU is a device that exists.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")

    munge = ["munged", "--foreground", "--force"]
    munge += [f"--{name}-file={folder}/munge/{name}" for name in ("key", "log", "pid", "seed")]
    with ExitStack() as started:
        for name in ("slurm.conf", "gres.conf"):
            link = SYSTEM / name
            assert link.is_symlink() or not link.exists(), f"{link}: this machine belongs to a cluster; nothing is done"
            link.unlink(missing_ok=True)  # that of a test that was killed
            link.symlink_to(folder / name)
            started.callback(link.unlink)
        started.enter_context(daemon(folder / "munged.log", *munge, f"--socket={folder}/munge/socket"))
        wait((folder / "munge/socket").exists, 10, "munged")
        started.enter_context(daemon(folder / "slurmctld.log", "slurmctld", "-c", "-D"))
        for node in ("first", "second"):
            started.enter_context(daemon(folder / f"slurmd-{node}.log", "slurmd", "-D", "-N", node))
        started.callback(end_jobs)
        wait(lambda: all_idle(), 60, f"nodes, see {folder}/*.log")
        yield


def all_idle() -> bool:
    """Return whether both nodes have reported to the controller."""
    question = ["sinfo", "--noheader", "--Node", "--format=%t"]
    found = subprocess.run(question, capture_output=True, text=True, check=False)
    return set(found.stdout.split()) == {"idle"}


def end_jobs() -> None:
    """Cancel every job, and wait until nothing of them runs."""
    commands("scancel", *map(str, jobs())) if jobs() else None
    wait(lambda: not jobs(), 60, "end of cancelled jobs")


@contextmanager
def daemon(log: Path, *words: str) -> Iterator[None]:
    """Run a daemon in the foreground of its own, and stop it at the end."""
    with log.open("w") as stream, subprocess.Popen(words, stdout=stream, stderr=stream) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

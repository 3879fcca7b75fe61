"""Start the processes of one training by torchrun: one per device, on one machine or on those of a Slurm job.

Each process reads its rank from its environment. A training on several machines is one step of the job's allocation,
started by srun, with one torchrun on each machine.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from wced.errors import WcedError

STOPPED = 143
"""Exit status of a training that SIGTERM ended: 128 + 15, as in a shell."""

MEETING_POINT = "WCED_RENDEZVOUS"
"""Environment variable with the host and port at which the torchruns of several machines meet."""

SECONDS_TO_SAVE = 120
"""Seconds that torchrun waits after passing on SIGTERM before it kills."""


def launched() -> bool:
    """Return whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Return the rank of this process among those of the training, from 0."""
    return int(os.environ["RANK"]) if launched() else 0


def end_with_parent() -> None:
    """Have the kernel kill this process when torchrun is killed, which then cannot end its processes itself."""
    from torch.multiprocessing import _prctl_pr_set_pdeathsig

    parent = os.environ.get("WCED_PARENT")
    _prctl_pr_set_pdeathsig(signal.SIGKILL)
    if parent is not None and os.getppid() != int(parent):
        sys.exit(STOPPED)


def launch(command: Sequence[str], devices: int, nodes: int = 1) -> None:
    """Run a `wced` command (without the word `wced`) in `devices` processes over `nodes` machines, and wait for them.

    WcedError is raised if the devices do not spread evenly over the machines, several machines are used outside of a
    Slurm job, or a process was killed; SystemExit with the status of the process that ended first, where it is not 0.
    """
    if devices % nodes:
        raise WcedError(f"pretraining.devices: {devices} devices do not spread evenly over {nodes} machines (nodes)")
    if nodes > 1 and MEETING_POINT not in os.environ:
        status = _on_every_machine([sys.executable, "-m", "wced", *command], nodes)
    else:
        status = _torchrun(command, devices // nodes, nodes)
    if status:
        raise SystemExit(status)


def _on_every_machine(command: Sequence[str], nodes: int) -> int:
    """Run a command once on every machine of this Slurm job, and return the exit status."""
    if "SLURM_JOB_ID" not in os.environ:
        raise WcedError(
            f"nodes: {nodes} machines, but this is no Slurm job, and only Slurm's srun can start a training on several;"
            " set the resource nodes of the rule pretrain to 1"
        )
    if "SLURM_STEP_ID" in os.environ:
        # Slurm sends SIGTERM to the processes of every step, and an srun among them would kill what it has started.
        raise WcedError(
            f"nodes: {nodes} machines, but this is a step of a Slurm job, which cannot start another one safely; give"
            " the rule pretrain the resource mpi=srun, or run the command in the job's own script"
        )
    with socket.socket() as free:
        free.bind(("", 0))
        meeting_point = f"{socket.gethostname()}:{free.getsockname()[1]}"
    # On each machine as many cores as the rule has threads, which Snakemake puts into this variable.
    cores = os.environ.get("OMP_NUM_THREADS", "1")
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cores}"]
    # The step gets SIGTERM by itself.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    step = [*srun, "--kill-on-bad-exit=1", *command]
    return subprocess.run(step, env=os.environ | {MEETING_POINT: meeting_point}, check=False).returncode


def _torchrun(command: Sequence[str], processes: int, nodes: int) -> int:
    """Run torchrun in this process, and return the exit status."""
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if nodes == 1:
        # Not by the name of the machine, which may not resolve.
        meeting = ["--standalone", "--local-addr=127.0.0.1"]
    else:
        meeting = [
            f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={os.environ[MEETING_POINT]}",
            f"--rdzv-id={os.environ['SLURM_JOB_ID']}",
        ]  # fmt: skip
    # The cores of the job are shared among its processes.
    os.environ["OMP_NUM_THREADS"] = str(max(1, int(os.environ.get("OMP_NUM_THREADS", "1")) // processes))
    os.environ["WCED_PARENT"] = str(os.getpid())
    options = [*meeting, f"--nproc-per-node={processes}", f"--shutdown-timeout={SECONDS_TO_SAVE}", "-m", "wced"]
    try:
        torchrun.run(torchrun.parse_args([*options, *command]))
    except SignalException as error:
        # A second signal may have interrupted torchrun while processes were still saving the training state.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with suppress(ChildProcessError):
            while True:
                os.wait()
        return 128 + error.sigval
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        if failure.exitcode == -signal.SIGTERM:
            return STOPPED
        if failure.exitcode < 0:
            raise WcedError(
                f"process {number} of the training was killed by {failure.signal_name()} (out of memory?); the same "
                "command goes on from the last saved state"
            ) from None
        return failure.exitcode
    return 0

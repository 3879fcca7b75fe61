"""A warm process: it imports what the commands of a run need, and forks a process for each of them.

Imports are most of what a short command takes. Where the jobs of a run are on one machine, Snakemake starts a warm
process (`start`), and the `wced` of a job gives its command line, folder, variables and standard streams to it
(`hand_over`) instead of importing everything anew. The same is run, under the same conditions: a `wced` under other
ones (environment, limits, container) does its work itself, as every `wced` does where there is no warm process.

Between a command and the warm process stands a watcher, another fork. It passes signals on, kills the command when its
`wced` is gone, and tells how it ended. The kernel kills each of them when the one before it has died.
"""

import atexit
import ctypes
import gc
import json
import os
import pkgutil
import resource
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import wced
from wced.cli import main

VARIABLE = "WCED_WARM"
"""Environment variable with the name of the socket. Whoever sets it beforehand, to 0 say, gets no warm process."""

FEWEST_JOBS = 10
"""A run of fewer jobs would be over before everything is imported."""

ROOMS = ("corpus", "genes", "shards", "pretraining", "embedding", "finetuning", "benchmarks", "learnability", "report")
"""Packages of which everything is imported, and with it the libraries that they use; in flow order."""

LATE = (
    *("unearth", "scanpy", "sklearn.linear_model", "matplotlib.pyplot", "statsmodels.stats.multitest"),
    *("scib_metrics", "czbenchmarks.tasks.label_prediction"),
)
"""Libraries that runs need and whose import stands within functions."""

THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
"""Environment variables in which Snakemake says how many threads a job has."""

OWN = (*THREADS, "TMPDIR", "TMP", "TEMPDIR", "TEMP", "PWD", "OLDPWD", "SHLVL", "_")
"""Environment variables in which a command may differ from the warm process, because they can be set after imports."""

ARROW_MEMORY = "JE_ARROW_MALLOC_CONF"
"""Environment variable of Arrow's allocator, which otherwise has a thread; a process with threads must not fork."""

SECONDS_TO_WAIT = 5
"""How long a command waits for a warm process that is busy with an import, before it does its work itself."""

CODE = "import sys; from wced.cli import warm; warm.serve(*map(int, sys.argv[1:])); warm.run()"
PASSED_ON = (signal.SIGTERM, signal.SIGINT)
ACCEPTED = b"+"
LENGTH, STATUS = struct.Struct("!I"), struct.Struct("!i")


def start(jobs: int) -> subprocess.Popen | None:
    """Start a warm process that lasts as long as this one, and name it in the environment of what this one starts.

    There is none (None) for few jobs, on another system than Linux, or if `WCED_WARM` is set.
    """
    if jobs < FEWEST_JOBS or sys.platform != "linux" or VARIABLE in os.environ:
        return None
    name = f"wced-{os.getpid()}-{secrets.token_hex(8)}"
    environment = os.environ | dict.fromkeys(THREADS, "1") | {ARROW_MEMORY: "background_thread:false"}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")  # a name without a file, so that nothing is left when all is killed
        listener.listen(128)
        command = [sys.executable, "-P", "-c", CODE, str(listener.fileno()), str(os.getpid())]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        # A session of its own: what a terminal sends goes to each `wced`, which passes it on.
        process = subprocess.Popen(
            command, **streams, env=environment, pass_fds=[listener.fileno()], start_new_session=True
        )
    os.environ[VARIABLE] = name
    return process


def hand_over() -> None:
    """Have the warm process run this process's command, and end as it ends; return if it can not."""
    with socket.socket(socket.AF_UNIX) as warm:
        warm.settimeout(SECONDS_TO_WAIT)
        try:
            warm.connect(f"\0{os.environ[VARIABLE]}")
            if _user_of(warm) != os.getuid():
                return
            own = {name: os.environ[name] for name in OWN if name in os.environ}
            request = {"words": sys.argv, "folder": str(Path.cwd()), "own": own, "conditions": conditions()}
            text = json.dumps(request).encode()
            socket.send_fds(warm, [LENGTH.pack(len(text))], [0, 1, 2])
            warm.sendall(text)
            if warm.recv(1) != ACCEPTED:
                return
        except OSError:
            return
        warm.settimeout(None)

        def pass_on(number: int, frame: Any) -> None:
            with suppress(OSError):  # the command has ended
                warm.send(bytes([number]))

        for number in PASSED_ON:
            signal.signal(number, pass_on)
        try:
            (status,) = STATUS.unpack(_received(warm, STATUS.size))
        except OSError:
            print("wced: the process that ran this was killed (out of memory?); run it again", file=sys.stderr)
            sys.exit(1)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:  # end by the same signal
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        with suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def conditions() -> dict[str, Any]:
    """Return under what this process runs; a command is taken over from one that runs under the same only."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kept = ("Uid", "Gid", "Groups", "Umask", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "program": [sys.prefix, sys.version, wced.__file__],
        "environment": {key: os.environ[key] for key in os.environ if key not in (*OWN, VARIABLE, ARROW_MEMORY)},
        "status": {name: status.get(name, "").strip() for name in (*kept, "Cpus_allowed", "Mems_allowed")},
        "limits": {name: list(resource.getrlimit(getattr(resource, name))) for name in limits},
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "groups": Path("/proc/self/cgroup").read_text(),
        "files": str(Path("/proc/self/ns/mnt").readlink()),
    }


def serve(listener_descriptor: int, parent: int) -> None:
    """Import, and fork for every command that is handed over; return in those forks only, which then run it.

    Parameters
    ----------
    listener_descriptor
        Descriptor of the listening socket.
    parent
        Number of the process that started this one, with which it ends.
    """
    _end_with(parent)
    listener, here = socket.socket(fileno=listener_descriptor), conditions()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # what comes while a command is being prepared waits
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # of watchers, for which nobody waits
    for module in _modules():
        import_module(module)
        while select.select([listener], [], [], 0)[0]:
            if _taken(listener, here):
                return
    from wced import provenance

    provenance.code_version(), provenance.package_versions()  # kept for all
    gc.collect()
    gc.freeze()  # what all have in common is neither looked through nor copied
    while not _taken(listener, here):
        pass


def run() -> None:
    """Run the command line and end this fork, at once and not by taking apart all that was imported."""
    try:
        main()
        code = None
    except SystemExit as ended:
        code = ended.code
        if not isinstance(code, int | None):
            raise
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ctypes.CDLL(None).fflush(None)
    os._exit(code or 0)


def _modules() -> Iterator[str]:
    yield from ("wced.cli.commands", "wced.provenance", "wced.tables")
    for room in ROOMS:
        package = import_module(f"wced.{room}")
        yield from (module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))
    yield from LATE


def _taken(listener: socket.socket, here: dict[str, Any]) -> bool:
    """Wait for a client and fork a watcher, which forks the command; return True in the command."""
    client, _ = listener.accept()
    server = os.getpid()
    with client:
        # Without an answer the client does its work itself.
        if len(list(Path("/proc/self/task").iterdir())) > 1 or os.fork():
            return False
        listener.close()
        try:
            return _watch(client, here, server)
        except OSError:  # the client or its folder is gone
            os._exit(1)


def _watch(client: socket.socket, here: dict[str, Any], server: int) -> bool:
    """Fork a client's command, and end with it; return True in the command."""
    _end_with(server)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(client, LENGTH.size, 3)
    request = json.loads(_received(client, LENGTH.unpack(head)[0]))
    numbers = {request["own"].get(name, "") for name in THREADS}  # Snakemake gives all of them the same value
    can = numbers == {"1"} or (len(numbers) == 1 and numbers.pop().isdigit() and _mkl_setter() is not None)
    if not can or _user_of(client) != os.getuid() or request["conditions"] != here:
        os._exit(0)
    client.sendall(ACCEPTED)
    watcher = os.getpid()
    command = os.fork()
    if not command:
        client.close()
        _end_with(watcher)
        _become(request, streams)
        return True
    os.setpgid(command, command)
    for stream in streams:
        os.close(stream)

    def pass_on() -> None:
        with suppress(OSError):
            while number := client.recv(1):
                os.kill(command, number[0])
        with suppress(OSError):
            os.killpg(command, signal.SIGKILL)

    threading.Thread(target=pass_on, daemon=True).start()
    client.sendall(STATUS.pack(os.waitpid(command, 0)[1]))
    os._exit(0)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Make this process what the client's would be after its imports."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    sys.argv[:] = request["words"]
    for name in (*OWN, VARIABLE, ARROW_MEMORY):
        os.environ.pop(name, None)
    os.environ.update(request["own"])
    tempfile.tempdir = None
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # Python's own generator does so by itself
    threads = int(request["own"]["OMP_NUM_THREADS"])
    if threads > 1:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
        _mkl_setter()(threads)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)


def _mkl_setter() -> Callable[[int], Any] | None:
    """Return what sets the number of threads of the MKL in torch, as its environment variable would; None if unknown.

    `torch.set_num_threads` would set more than that: whether MKL may take fewer threads.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.backends.mkl.is_available():
        return lambda threads: None
    library = Path(torch.__file__).parent / "lib/libtorch_cpu.so"
    return getattr(ctypes.CDLL(str(library)), "mkl_serv_set_num_threads", None)


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent has died."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _user_of(connection: socket.socket) -> int:
    """Return the number of the user at the other end."""
    return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]


def _received(connection: socket.socket, size: int) -> bytes:
    """Return the next bytes; raise OSError if the other end has closed the connection before."""
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionResetError
        found += part
    return found

"""A warm process, which has imported what the commands of a run need and forks a process for each of them.

Imports take most of the time of a short command. If the jobs of a run are on one machine, Snakemake starts a warm
process (`start`), and the `wced` of a job sends its arguments, folder, environment variables and standard streams
there (`hand_over`) instead of importing everything again. A `wced` under other conditions (environment, limits,
container) runs its command itself, as every `wced` does without a warm process.

Between the warm process and a command is a watcher, another fork. It passes signals on, kills the command when its
`wced` has ended, and reports the exit status. The kernel kills each process when its parent has died.
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

VARIABLE = "WCED_WARM"
"""Environment variable with the name of the socket. If it is already set (to 0, say), no warm process is started."""

FEWEST_JOBS = 10
"""A run of fewer jobs would end before everything is imported."""

ROOMS = ("corpus", "genes", "shards", "pretraining", "embedding", "finetuning", "benchmarks", "learnability", "report")
"""Packages whose modules are all imported, and with them the libraries that they use; in flow order."""

LATE = (
    *("unearth", "scanpy", "sklearn.linear_model", "matplotlib.pyplot", "statsmodels.stats.multitest"),
    *("scib_metrics", "czbenchmarks.tasks.label_prediction"),
)
"""Libraries that runs need and that are imported within functions."""

THREADS = (
    *("OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
)
"""Environment variables by which Snakemake sets the number of threads of a job."""

OWN = (*THREADS, "TMPDIR", "TMP", "TEMPDIR", "TEMP", "PWD", "OLDPWD", "SHLVL", "_")
"""Environment variables that may differ from those of the warm process, because they can be set after imports."""

ARROW_MEMORY = "JE_ARROW_MALLOC_CONF"
"""Environment variable that keeps Arrow's allocator from starting a thread; a process with threads must not fork."""

SECONDS_TO_WAIT = 5
"""How long a `wced` waits for a warm process that is busy with an import, before it runs its command itself."""

CODE = "import sys; from wced.cli import warm; warm.serve(*map(int, sys.argv[1:])); warm.run()"
PASSED_ON = (signal.SIGTERM, signal.SIGINT)
ACCEPTED = b"+"
LENGTH, STATUS = struct.Struct("!I"), struct.Struct("!i")


def start(jobs: int) -> subprocess.Popen | None:
    """Start a warm process, which ends with this one, and name it in the environment of this one's child processes.

    Return None, without a warm process, for few jobs, outside Linux, or if `WCED_WARM` is set.
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
        # In a new session, because signals of the terminal reach each `wced`, which passes them on.
        process = subprocess.Popen(
            command, **streams, env=environment, pass_fds=[listener.fileno()], start_new_session=True
        )
    os.environ[VARIABLE] = name
    return process


def hand_over() -> None:
    """Let the warm process run this process's command, and end as the command ends; return if it cannot."""
    with socket.socket(socket.AF_UNIX) as warm:
        warm.settimeout(SECONDS_TO_WAIT)
        try:
            warm.connect(f"\0{os.environ[VARIABLE]}")
            if _user_of(warm) != os.getuid():
                return
            own = {name: os.environ[name] for name in OWN if name in os.environ}
            request = {"argv": sys.argv, "folder": str(Path.cwd()), "own": own, "conditions": conditions()}
            text = json.dumps(request).encode()
            socket.send_fds(warm, [LENGTH.pack(len(text))], [0, 1, 2])
            warm.sendall(text)
            if warm.recv(1) != ACCEPTED:
                return
        except OSError:
            return
        warm.settimeout(None)

        def pass_on(number: int, frame: Any) -> None:
            with suppress(OSError):  # the command may have ended
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
    """Return the conditions of this process; a warm process takes commands only from processes with the same ones."""
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
    """Import everything and fork for every command that is handed over; return only in these forks, which then run it.

    `parent` is the id of the process that started this one, which ends with it.
    """
    _end_with(parent)
    listener, here = socket.socket(fileno=listener_descriptor), conditions()
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # signals wait until a command is prepared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the watchers
    for module in _modules():
        import_module(module)
        while select.select([listener], [], [], 0)[0]:
            if _accept(listener, here):
                return
    from wced import provenance

    provenance.code_version(), provenance.package_versions()  # cached for all commands
    gc.collect()
    gc.freeze()  # shared objects are neither searched nor copied
    while not _accept(listener, here):
        pass


def run() -> None:
    """Run the command line and end this fork, without the slow finalisation of everything that was imported."""
    from wced.cli.commands import main

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


def _accept(listener: socket.socket, here: dict[str, Any]) -> bool:
    """Wait for a client and fork a watcher, which forks the command; return True in the command only."""
    client, _ = listener.accept()
    server = os.getpid()
    with client:
        # Without an answer the client runs its command itself.
        if len(list(Path("/proc/self/task").iterdir())) > 1 or os.fork():
            return False
        listener.close()
        try:
            return _watch(client, here, server)
        except OSError:  # the client or its folder is gone
            os._exit(1)


def _watch(client: socket.socket, here: dict[str, Any], server: int) -> bool:
    """Fork a client's command and end with it; return True in the command only."""
    _end_with(server)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(client, LENGTH.size, 3)
    request = json.loads(_received(client, LENGTH.unpack(head)[0]))
    numbers = {request["own"].get(name, "") for name in THREADS}  # Snakemake sets all to the same value
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
    """Give this process the arguments, folder, variables, streams and threads of the client."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    sys.argv[:] = request["argv"]
    for name in (*OWN, VARIABLE, ARROW_MEMORY):
        os.environ.pop(name, None)
    os.environ.update(request["own"])
    tempfile.tempdir = None
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # Python's own generator does this by itself
    threads = int(request["own"]["OMP_NUM_THREADS"])
    if threads > 1:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
        _mkl_setter()(threads)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)


def _mkl_setter() -> Callable[[int], Any] | None:
    """Return the function that sets the number of threads of MKL in torch; None if torch does not export it.

    `torch.set_num_threads` would also change whether MKL may take fewer threads.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.backends.mkl.is_available():
        return lambda threads: None
    library = Path(torch.__file__).parent / "lib/libtorch_cpu.so"
    return getattr(ctypes.CDLL(str(library)), "mkl_serv_set_num_threads", None)


def _end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent has died."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _user_of(connection: socket.socket) -> int:
    """Return the id of the user at the other end."""
    return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]


def _received(connection: socket.socket, size: int) -> bytes:
    """Return the next `size` bytes; raise OSError if the connection ends before."""
    content = connection.recv(size, socket.MSG_WAITALL)
    if len(content) < size:
        raise ConnectionResetError
    return content

"""Handing commands to a warm process; here a command is the code in its first word."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from wced.cli import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has warm processes")

STAND_IN = "from wced.cli import commands, warm; commands.main = lambda: exec(sys.argv[1], {}); warm.ROOMS = (); "
WCED = [sys.executable, "-m", "wced"]
NOT_HANDED_OVER = 2
"""Status of `wced` itself, which does not know that command."""


def until(true, seconds=30.0):
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def alive(pid):
    """Whether a process exists and is not a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture(scope="module")
def server():
    """A warm process, named in the environment."""
    patch = pytest.MonkeyPatch()
    patch.delenv(warm.VARIABLE, raising=False)
    patch.delenv("PYTEST_CURRENT_TEST")
    patch.setattr(warm, "CODE", f"import sys; {STAND_IN} warm.LATE = ('torch', 'sklearn.cluster'); {warm.CODE}")
    process = warm.start(jobs=99)
    until(lambda: run("pass").returncode == 0)
    yield process
    process.kill()
    process.wait()
    os.environ.pop(warm.VARIABLE)
    patch.undo()


def environment(**own):
    """Return the environment of a Snakemake job, without what pytest changes with every test."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return kept | dict.fromkeys(warm.THREADS, "1") | own


def run(code, *words, env=None, **options):
    """Run code in place of a command."""
    env = environment() if env is None else env
    return subprocess.run([*WCED, code, *words], env=env, capture_output=True, text=True, check=False, **options)


def started(folder, code):
    """Start a command that writes its id into the file `pid` once it is ready; return both processes."""
    code = f"import os, signal, time\n{code}\nopen('new', 'w').write(str(os.getpid())); os.rename('new', 'pid')\n"
    client = subprocess.Popen(
        [*WCED, f"{code}time.sleep(60)"], cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    until((folder / "pid").exists)
    return client, int((folder / "pid").read_text())


def test_a_command_has_the_arguments_folder_variables_and_streams_of_its_wced(server, tmp_path):
    code = "import os, sys, tempfile; print(os.getppid(), sys.argv[2:], os.getcwd(), input(), tempfile.gettempdir(), "
    code += "os.environ['OMP_NUM_THREADS'], os.environ.get('WCED_WARM')); print('error', file=sys.stderr)"
    (tmp_path / "own").mkdir()
    own = environment(**dict.fromkeys(warm.THREADS, "2"), TMPDIR=str(tmp_path / "own"))
    done = run(code, "a b", "ü", input="given\n", cwd=tmp_path, env=own)
    parent, _, said = done.stdout.partition(" ")
    assert said == f"['a b', 'ü'] {tmp_path} given {tmp_path / 'own'} 2 None\n"
    assert done.stderr == "error\n" and done.returncode == 0
    assert int(parent) not in (os.getpid(), server.pid)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_numbers_of_threads_are_those_of_a_fresh_process(server, threads):
    code = "import torch, sklearn.cluster, threadpoolctl; print(torch.__config__.parallel_info()); "
    code += "print(*sorted((part['filepath'], part['num_threads']) for part in threadpoolctl.threadpool_info()))"
    numbers = environment(**dict.fromkeys(warm.THREADS, threads))
    fresh = subprocess.run([sys.executable, "-c", code], env=numbers, capture_output=True, text=True, check=True)
    assert run(code, env=numbers).stdout == fresh.stdout


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('wrong')", 1, "wrong\n"),
        ("raise OSError('broken')", 1, "OSError: broken\n"),
        ("import os; os._exit(7)", 7, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV, ""),
    ],
    ids=["status", "words", "error", "at_once", "SIGTERM", "SIGKILL", "SIGSEGV"],
)
def test_a_wced_ends_as_its_command(server, code, status, said):
    done = run(code)
    assert done.returncode == status and done.stderr.endswith(said)


def test_a_command_flushes_its_output_and_runs_its_exit_functions(server):
    done = run("import atexit; atexit.register(print, 'at the end'); print('before', end=' ')")
    assert done.stdout == "before at the end\n"


def test_two_commands_have_different_random_numbers(server):
    code = "import random, numpy; print(random.random(), numpy.random.random())"
    first, second = (run(code).stdout.split() for _ in range(2))
    assert len({*first, *second}) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(server, tmp_path, number):
    code = f"signal.signal({int(number)}, lambda *_: (open('saved', 'w').close(), os._exit(143)))"
    client, _ = started(tmp_path, code)
    client.send_signal(number)
    client.communicate(timeout=30)
    assert client.returncode == 143 and (tmp_path / "saved").exists()


def test_a_command_and_its_children_are_killed_with_its_wced(server, tmp_path):
    client, command = started(tmp_path, "child = os.fork() or time.sleep(60)\nopen('child', 'w').write(str(child))")
    child = int((tmp_path / "child").read_text())
    assert alive(command) and alive(child)
    client.kill()
    client.communicate(timeout=30)  # both ends of the streams are closed
    until(lambda: not alive(command) and not alive(child))
    assert run("print(1)").stdout == "1\n"


def _limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, 10**9))


@pytest.mark.parametrize(
    "options",
    [
        {"env": {"MPLBACKEND": "svg"}},
        {"env": {"MKL_NUM_THREADS": "2"}},
        {"umask": 0o077},
        {"preexec_fn": _limited},
        {"preexec_fn": lambda: os.nice(1)},
    ],
    ids=["environment", "threads", "umask", "limit", "nice"],
)
def test_a_wced_under_other_conditions_runs_its_command_itself(server, options):
    if "env" in options:
        options = {"env": environment(**options["env"])}
    assert run("print(1)", **options).returncode == NOT_HANDED_OVER


@pytest.mark.parametrize("name", ["0", "", "wced-nobody"])
def test_without_a_warm_process_a_wced_runs_its_command_itself(name):
    assert run("print(1)", env=environment(**{warm.VARIABLE: name})).returncode == NOT_HANDED_OVER


@pytest.mark.parametrize("jobs", [1, warm.FEWEST_JOBS - 1])
def test_few_jobs_get_no_warm_process(monkeypatch, jobs):
    monkeypatch.delenv(warm.VARIABLE, raising=False)
    assert warm.start(jobs) is None and warm.VARIABLE not in os.environ


def test_the_variable_disables_the_warm_process(monkeypatch):
    monkeypatch.setenv(warm.VARIABLE, "0")
    assert warm.start(jobs=99) is None and os.environ[warm.VARIABLE] == "0"


def test_handing_over_imports_next_to_nothing():
    code = "import sys, wced.cli.warm; print(len(sys.modules), 'typer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, typer = done.stdout.split()
    assert int(modules) < 150 and typer == "False"


def test_the_warm_process_and_its_commands_end_with_a_killed_parent(tmp_path, monkeypatch):
    monkeypatch.delenv(warm.VARIABLE, raising=False)
    code = f"""
import os, subprocess, sys
from wced.cli import warm
warm.CODE = "import sys; {STAND_IN}" + warm.CODE
warm.LATE = ()
print(warm.start(jobs=99).pid, flush=True)
subprocess.run([sys.executable, "-m", "wced", sys.argv[1]], env=os.environ | dict.fromkeys(warm.THREADS, "1"))
"""
    command = "import os, time; open('new', 'w').write(str(os.getpid())); os.rename('new', 'pid'); time.sleep(60)"
    parent = subprocess.Popen(
        [sys.executable, "-c", code, command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    server = int(parent.stdout.readline())
    until((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    assert alive(server) and alive(pid)
    parent.kill()
    _, said = parent.communicate(timeout=30)
    until(lambda: not alive(server) and not alive(pid))
    assert said == "wced: the process that ran this was killed (out of memory?); run it again\n"

import subprocess
import sys

from wced.bench.machine import last_level_cache, machine, usage

# A process that holds 50 MB and, where it is told to, starts another of its kind. Processes of their own: one that runs
# tests may fill new arrays with memory that it freed before.
HOLD = """
import subprocess, sys
held = bytearray(b'1' * 50_000_000)
if sys.argv[2:]:
    child = subprocess.Popen([sys.executable, '-c', sys.argv[2], 'alone'], stdin=sys.stdin, stdout=subprocess.PIPE)
    child.stdout.readline()
print('ready', flush=True)
sys.stdin.read()
"""


def held(*arguments: str) -> tuple[float, float]:
    """Return anonymous and resident memory of such a process, and see that none is left when it has ended."""
    command = [sys.executable, "-c", HOLD, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        memory = usage(process.pid)
        process.stdin.close()
    assert usage(process.pid) == (0, 0)
    return memory.anonymous, memory.resident


def test_memory_of_a_process_and_of_its_children():
    alone, resident = held("alone")
    assert 49 < alone < 70 and resident > alone
    together, _ = held("together", HOLD)
    assert 49 < together - alone < 70


def test_machine():
    here = machine()
    assert here["processor"] and here["cores"] >= 1 and here["cache_mib"] == last_level_cache() // 2**20

import subprocess
import sys

from speed.machine import last_level_cache, machine

MEMORY = """
import os, subprocess, sys
import numpy as np
from speed.machine import usage

HOLD = "import sys; held = bytearray(b'1' * 50_000_000); print('ready', flush=True); sys.stdin.read()"
before = usage()
held = np.ones(50_000_000, np.uint8)
own = usage()
with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
    child.stdout.readline()
    alone, together = usage(child.pid), usage(os.getpid())
    child.stdin.close()
ended = usage(child.pid)
assert held.all()
print(before.anonymous, *own, alone.anonymous, together.anonymous, *ended)
"""


def test_memory_of_a_process_and_of_its_children():
    """In a process of its own: one that runs tests may fill new arrays with memory that it freed before."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    before, resident, anonymous, alone, together, *ended = map(float, run.stdout.split())
    assert 49 < anonymous - before < 60 and resident >= anonymous
    assert alone > 49 and together - anonymous > 49
    assert ended == [0, 0]


def test_machine():
    here = machine()
    assert here["processor"] and here["cores"] >= 1 and here["cache_mib"] == last_level_cache() // 2**20

import os
import subprocess
import sys

import numpy as np

from wced.bench.machine import last_level_cache, machine, usage

HOLD = "import sys; held = bytearray(b'1' * 50_000_000); print('ready', flush=True); sys.stdin.read()"


def test_memory_of_a_process_and_of_its_children():
    before = usage()
    held = np.ones(50_000_000, np.uint8)
    own = usage()
    assert 49 < own.anonymous - before.anonymous < 60 and own.resident >= own.anonymous
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        alone, together = usage(child.pid), usage(os.getpid())
        child.stdin.close()
    assert alone.anonymous > 49 and together.anonymous - own.anonymous > 49
    assert usage(child.pid) == (0, 0)
    assert held.all()


def test_machine():
    here = machine()
    assert here["processor"] and here["cores"] >= 1 and here["cache_mib"] == last_level_cache() // 2**20

"""Caches of a process whose home cannot be written."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wced import caches
from wced.cli import doctor

MODULE = "import numba\n\n\n@numba.njit(cache=True)\ndef twice(x):\n    return 2 * x\n"
CODE = """
import wced, compiled, matplotlib, os, subprocess, sys
assert compiled.twice(2) == 4 and matplotlib.get_cachedir()
subprocess.run([sys.executable, "-c", "import wced"], check=True)
print(os.environ["XDG_CACHE_HOME"])
"""


@pytest.mark.parametrize("taken", [False, True], ids=["private", "writable by anybody"])
def test_a_temporary_folder_replaces_the_users(tmp_path, taken):
    (tmp_path / "compiled.py").write_text(MODULE)
    (tmp_path / "__pycache__").write_text("no folder, so nothing can be compiled into it")
    usual = tmp_path / f"wced-{os.getuid()}"
    if taken:  # somebody else could have put code there
        usual.mkdir()
        usual.chmod(0o777)
    environment = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "MPLCONFIGDIR")}
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    environment |= {"HOME": "/proc/none", "TMPDIR": str(tmp_path), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.parent == tmp_path and folder.name.startswith("wced-") and (folder != usual) == taken
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and any(folder.rglob("compiled.twice*"))
    sentence = f"wced: /proc/none/.cache cannot be written, so caches are in {folder}; set XDG_CACHE_HOME"
    assert done.stderr.count(sentence) == done.stderr.count("cannot be written") == 1


def test_the_doctor_warns_of_the_temporary_folder(monkeypatch):
    monkeypatch.setattr(caches, "FALLBACK", None)
    assert doctor.cache_folder().state == "ok"
    monkeypatch.setattr(caches, "FALLBACK", "/tmp/wced-7")
    finding = doctor.cache_folder()
    assert finding.state == "warning" and "/tmp/wced-7" in finding.text and "XDG_CACHE_HOME" in finding.text

import errno
import hashlib
import os
import re
import signal
import subprocess
import sys

import pytest

from wced.errors import WcedError
from wced.files import existing, sha256, whole_file, whole_folder


def test_a_file_appears_once_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "table.tsv"
    with whole_file(path) as temporary:
        assert temporary.suffix == ".tsv" and temporary != path
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("old", [None, "old"], ids=["no_file_before", "file_before"])
def test_an_error_leaves_everything_as_it_was(tmp_path, old):
    path = tmp_path / "table.tsv"
    if old is not None:
        path.write_text(old)
    with pytest.raises(RuntimeError, match="broken"), whole_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("broken")
    assert [(child.name, child.read_text()) for child in tmp_path.iterdir()] == (
        [] if old is None else [("table.tsv", "old")]
    )


def test_a_folder_replaces_the_old_one(tmp_path):
    path = tmp_path / "model"
    for name in ("old", "new"):
        with whole_folder(path) as temporary:
            (temporary / name).write_text(name)
    assert [child.name for child in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_keeps_the_old_folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(RuntimeError, match="broken"), whole_folder(path) as temporary:
        (temporary / "half").write_text("half")
        raise RuntimeError("broken")
    assert [child.name for child in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
from wced.files import whole_file, whole_folder
with {writer}(sys.argv[1]) as temporary:
    (temporary if temporary.suffix == ".tsv" else temporary / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("writer", "name"), [("whole_file", "table.tsv"), ("whole_folder", "model")])
def test_the_next_writer_removes_leftovers_of_a_killed_one(tmp_path, writer, name):
    path, other = tmp_path / name, tmp_path / f"other-{name}"
    for target in (path, other):
        done = subprocess.run([sys.executable, "-c", KILLED.format(writer=writer), str(target)], check=False)
        assert done.returncode == -signal.SIGKILL and not target.exists()
    assert len(list(tmp_path.iterdir())) == 2
    with {"whole_file": whole_file, "whole_folder": whole_folder}[writer](path) as temporary:
        # Those of other paths stay.
        assert sorted(child.name.startswith(f".{other.name}.") for child in tmp_path.iterdir()) == [False, True]
        (temporary if writer == "whole_file" else temporary / "whole").write_text("whole")
    assert path.exists()


def test_two_writers_of_one_path_do_not_interfere(tmp_path):
    path = tmp_path / "table.tsv"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second" and first.exists()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_is_that_of_the_bytes(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "data").write_bytes(data)
    assert sha256(tmp_path / "data") == hashlib.sha256(data).hexdigest()


def test_existing_names_the_file_and_its_kind(tmp_path):
    assert existing(str(tmp_path), "a folder") == tmp_path
    path = tmp_path / "cells.parquet"
    with pytest.raises(WcedError, match=f"^{re.escape(str(path))}: no such file; expected a table of cells$"):
        existing(path, "a table of cells")


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_full_disk_is_reported_with_the_file(tmp_path, whole):
    with pytest.raises(OSError) as refusal, whole(tmp_path / "a.tsv"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert refusal.value.filename == str(tmp_path / "a.tsv")
    assert list(tmp_path.iterdir()) == []

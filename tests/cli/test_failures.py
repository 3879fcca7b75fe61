import errno
import os

import numpy as np
import pytest

from wced.cli.failures import sentence
from wced.errors import WcedError


class OutOfMemoryError(RuntimeError):  # torch's is named so
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WcedError("cells.parquet: no\ncolumn"), "cells.parquet: no column"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.tsv"), "a.tsv: No space left on device; free some space"),
        (OSError("h5py (errno = 28, error message = 'No space left on device')"), "free some space"),
        (RuntimeError("TileDB: Cannot write; No space left on device"), "free some space"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "r"), "r: Read-only file system; write elsewhere"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "r"), "r: Permission denied; check who owns it"),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "r/i"), "r/i: No such file or directory; it was"),
        (MemoryError(), "out of memory; take more memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory (CUDA out of memory. Tried"),
    ],
    ids=["own", "full", "full_h5py", "full_tiledb", "read_only", "not_allowed", "vanished", "memory", "gpu_memory"],
)
def test_what_is_known_is_said_with_what_to_do(error, expected):
    said = sentence(error)
    assert expected in said and "\n" not in said and "unexpected" not in said


def test_memory_that_numpy_does_not_get_is_known():
    with pytest.raises(MemoryError) as raised:
        np.empty(2**56, dtype="u1")
    assert sentence(raised.value).startswith("out of memory (Unable to allocate")


def test_the_cause_of_a_wrapped_error_is_found():
    try:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.h5ad")
        except OSError as error:
            raise ValueError("while writing key X") from error
    except ValueError as error:
        assert sentence(error).startswith("x.h5ad: No space left on device")


def test_the_unexpected_names_the_line_of_the_package():
    from wced.files import sha256

    with pytest.raises(TypeError) as raised:
        sha256(3)
    said = sentence(raised.value)
    assert said.startswith("unexpected TypeError in wced/files.py, line ") and "wced --debug" in said
    assert len(sentence(ValueError("x" * 10_000))) < 1_000

"""Writing files so that they appear whole or not at all, and reading what identifies them."""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from wced.errors import WcedError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path of the same name, which is moved to `path` when the block ends without an error."""
    with _temporary_beside(Path(path)) as folder:
        temporary = folder / Path(path).name
        yield temporary
        temporary.replace(path)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder, which replaces the folder `path` when the block ends without an error."""
    path = Path(path)
    with _temporary_beside(path) as outer:
        temporary = outer / path.name
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(outer / f"{path.name}.old")  # in one step, so that a kill never leaves half of the old folder
        temporary.replace(path)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, after removing those that killed writers of `path` have left.

    A writer locks its folder, and the system releases the lock when the process ends. Without locks, leftovers stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}."
    for leftover in [child for child in path.parent.iterdir() if child.name.startswith(prefix) and child.is_dir()]:
        with suppress(OSError), _locked(leftover):
            shutil.rmtree(leftover)
    with ExitStack() as lock, tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as folder:
        with suppress(OSError):
            lock.enter_context(_locked(folder))
        try:
            yield Path(folder)
        except OSError as failure:
            if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and failure.filename is None:
                failure.filename = str(path)
            raise


@contextmanager
def _locked(folder: str | Path) -> Iterator[None]:
    """Hold the lock of a folder; raise OSError at once if another writer holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def sha256(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def existing(path: str | Path, what: str) -> Path:
    """Return `path` as a Path; raise WcedError if it does not exist, with `what` it should have been."""
    path = Path(path)
    if not path.exists():
        raise WcedError(f"{path}: no such file; expected {what}")
    return path

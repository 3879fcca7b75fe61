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

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a file can not grow."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed onto it when the block ends without an error.

    The temporary name keeps the suffixes of `path`, because many writers choose their format by it.
    """
    with _room_beside(Path(path)) as folder:
        temporary = folder / Path(path).name
        yield temporary
        temporary.replace(path)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` that takes its place when the block ends without an error."""
    path = Path(path)
    with _room_beside(path) as outer:
        temporary = outer / path.name
        temporary.mkdir()
        yield temporary
        if path.exists():
            # Set aside in one step: a writer that is killed never leaves half of the old folder under its name.
            path.rename(outer / f"{path.name}.old")
        temporary.replace(path)


@contextmanager
def _room_beside(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, and remove those that killed writers of `path` have left.

    A writer holds a lock on its folder, which the system takes away when the process ends, however it ends. Where the
    file system knows no such locks, leftovers stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}."
    for left in [child for child in path.parent.iterdir() if child.name.startswith(prefix) and child.is_dir()]:
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    with ExitStack() as held, tempfile.TemporaryDirectory(dir=path.parent, prefix=prefix) as folder:
        with suppress(OSError):
            held.enter_context(_locked(Path(folder)))
        try:
            yield Path(folder)
        except OSError as failure:
            if failure.errno in NO_ROOM and failure.filename is None:  # few writers say which file had no room
                failure.filename = str(path)
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; raise OSError at once where another writer holds it."""
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
    """Return `path` as a Path; raise WcedError naming it and `what` it should have been if it is not there."""
    path = Path(path)
    if not path.exists():
        raise WcedError(f"{path}: no such file; expected {what}")
    return path

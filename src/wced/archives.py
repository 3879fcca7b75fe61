"""Pinned archives of the package index: their names, and the files inside them."""

import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from wced.config.base import local_path
from wced.config.corpus import ArchiveMember
from wced.errors import WcedError
from wced.files import existing, sha256, whole_file

ARCHIVE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*):(?P<kind>wheel|sdist)"
)
"""An archive as `name==version:kind`."""


def archive_file(archive: str) -> str:
    """Return the name of an archive's file, `name-version.kind`; raise WcedError if `archive` has another form."""
    match = ARCHIVE.fullmatch(archive)
    if match is None:
        raise WcedError(f"archive {archive!r} is not of the form name==version:wheel or name==version:sdist")
    return f"{match['name']}-{match['version']}.{match['kind']}"


def local_files(member: ArchiveMember, folder: str | Path) -> list[str]:
    """Return the paths of the archive (in `folder`) or the plain files of `member`."""
    if member.path is not None:
        return list(member.files().values()) if member.member is None else [local_path(member.path)]
    return [str(Path(folder) / archive_file(member.archive))]


def extract(archive: str | Path, members: Mapping[str, str | Path]) -> None:
    """Write members of a wheel (zip) or an sdist (tar.gz), reading it once; nothing else is written or run.

    `members` has the target of each path inside the archive (of an sdist: without its top folder). A folder is written
    with all its files. Raises WcedError if a path leaves the archive, or the archive cannot be read or lacks a member.
    """
    archive = existing(archive, "an archive")
    pending = {}
    for member, target in members.items():
        path = PurePosixPath(member)
        if path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
            raise WcedError(f"{archive}: member {member!r} points out of the archive")
        pending[path] = Path(target)
    missing = list(pending)
    try:
        for path, source in _entries(archive):
            member = next((member for member in (path, *path.parents) if member in pending), None)
            if member is None or ".." in path.parts:
                continue
            if source is None:
                raise WcedError(f"{archive}: member {path} is not a plain file")
            target = pending[member] / path.relative_to(member)
            with source() as stream, whole_file(target) as temporary, temporary.open("wb") as sink:
                shutil.copyfileobj(stream, sink, 1 << 20)
            if member in missing:
                missing.remove(member)
            if member == path:
                del pending[member]
            if not pending:
                return
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as failure:
        raise WcedError(f"{archive}: cannot be read as a wheel or an sdist: {failure}") from None
    if missing:
        raise WcedError(f"{archive}: has no member {missing[0]}")


def _entries(archive: Path) -> Iterator[tuple[PurePosixPath, Callable[[], IO[bytes]] | None]]:
    """Yield path and opener of everything in an archive but folders; what is no plain file has no opener."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as content:
            for info in content.infolist():
                if not info.is_dir():
                    yield PurePosixPath(info.filename), partial(content.open, info)
        return
    with tarfile.open(archive, mode="r|*") as content:
        for info in content:
            if not info.isdir():
                path = PurePosixPath(*PurePosixPath(info.name).parts[1:])
                yield path, partial(content.extractfile, info) if info.isfile() else None


@contextmanager
def opened_files(member: ArchiveMember, paths: Sequence[str | Path]) -> Iterator[dict[str, Path]]:
    """Give the plain files of `member` by their names, while the block runs; `paths` are those of `local_files`.

    Raises WcedError if one does not exist, or has another SHA-256 than `member` states.
    """
    if member.path is not None:
        for path in map(Path, paths):
            existing(path, "a file")
            if member.sha256 is not None and path.is_dir():
                raise WcedError(f"{path}: a folder has no sha256, but {member.sha256} was asked for")
            if member.sha256 is not None and (actual := sha256(path)) != member.sha256:
                raise WcedError(f"{path}: has sha256 {actual}, but {member.sha256} was asked for")
        if member.member is None:
            yield dict(zip(member.files(), map(Path, paths), strict=True))
            return
    with tempfile.TemporaryDirectory() as temporary:
        # The suffix stays: it says what the file is. The number keeps files of one name in several folders apart.
        targets = {
            name: Path(temporary) / str(number) / PurePosixPath(path).name
            for number, (name, path) in enumerate(member.files().items())
        }
        extract(paths[0], {path: targets[name] for name, path in member.files().items()})
        yield targets


@contextmanager
def opened(member: ArchiveMember, path: str | Path) -> Iterator[Path]:
    """Give the one plain file of `member` while the block runs; otherwise as `opened_files`."""
    if (n := len(member.files())) > 1:
        raise WcedError(f"{member.path or member.archive}: one file is needed, not {n}")
    with opened_files(member, [path]) as files:
        yield next(iter(files.values()))

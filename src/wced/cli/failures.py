"""What went wrong, said in one sentence that ends with what to do."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import wced
from wced.errors import WcedError

# What the system says, however the library that met it wraps it; h5py and TileDB keep the words and lose the number.
_SYSTEM = {
    "No space left on device": "free some space, or write elsewhere, and run it again",
    "Disk quota exceeded": "free some space, or write elsewhere, and run it again",
    "File too large": "raise the limit on the size of files (ulimit -f), and run it again",
    "Read-only file system": "write elsewhere (`results` in the config), or make it writable",
    "Permission denied": "check who owns it and may write there",
    "No such file or directory": "it was there a moment ago or its name is wrong; bring it back and run it again",
    "Too many open files": "raise the limit on open files (ulimit -n), and run it again",
}
_MEMORY = "take more memory or smaller batches, and run it again"


def sentence(error: BaseException) -> str:
    """Return one sentence, without line breaks, that names what failed and what to do.

    A WcedError speaks for itself. Of what the system refuses (disk, permissions, memory) the file is named where it is
    known. Anything else is unexpected: its kind and place are named, and how to see the traceback.
    """
    if isinstance(error, WcedError):
        return _line(str(error))
    for cause in _causes(error):
        text = str(cause)
        for words, advice in _SYSTEM.items():
            if words in text:
                name = cause.filename2 or cause.filename if isinstance(cause, OSError) else None
                where = f"{name}: {words}" if name is not None else _line(text)
                return f"{where}; {advice}"
        if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
            return f"out of memory{f' ({_line(text)})' if text else ''}; {_MEMORY}"
    return (
        f"unexpected {type(error).__name__}{_place(error)}: {_line(str(error)) or 'no message'}; "
        "run it as `wced --debug …`, or with WCED_DEBUG=1 in the environment, to see the traceback"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give the error and what it was raised from. What merely was being handled says nothing of it."""
    while error is not None:
        yield error
        error = error.__cause__


def _place(error: BaseException) -> str:
    """Return the innermost line of this package that the error passed, as ` in wced/shards/write.py, line 12`."""
    package = Path(wced.__file__).parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if package in Path(frame.filename).parents]
    if not frames:
        return ""
    return f" in wced/{Path(frames[-1].filename).relative_to(package)}, line {frames[-1].lineno}"


def _line(text: str) -> str:
    """Return a text on one line, shortened to what a terminal shows at once."""
    text = " ".join(text.split())
    return text if len(text) <= 600 else f"{text[:599]}…"

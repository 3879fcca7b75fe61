"""The machine, and the memory of processes on it, as Linux reports them."""

import os
from pathlib import Path
from typing import Any, NamedTuple


class Usage(NamedTuple):
    """Memory of a process tree in MB (10^6 bytes)."""

    resident: float
    """All pages in memory, including those of mapped files, which the system can take back."""
    anonymous: float
    """Pages that no file backs: what the process itself allocated."""


def usage(pid: int | str = "self") -> Usage:
    """Return the memory of a process and all its children; zeros once it has ended."""
    resident = anonymous = 0.0
    waiting = [str(pid)]
    while waiting:
        folder = Path("/proc") / waiting.pop()
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            children = [task.read_text() for task in folder.glob("task/*/children")]
        except OSError:  # it has just ended
            continue
        resident += int(status.get("VmRSS", "0 kB").split()[0]) * 1024 / 1e6
        anonymous += int(status.get("RssAnon", "0 kB").split()[0]) * 1024 / 1e6
        waiting += " ".join(children).split()
    return Usage(resident, anonymous)


def last_level_cache() -> int:
    """Return the bytes of the largest cache of the first core, 0 if the system does not report it."""
    units = {"K": 2**10, "M": 2**20}
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size[:-1]) * units[size[-1]] for size in sizes), default=0)


def machine() -> dict[str, Any]:
    """Return the processor's name, the number of usable cores, and the largest cache in MiB."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "cache_mib": last_level_cache() // 2**20,
    }

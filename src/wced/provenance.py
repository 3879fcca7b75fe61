"""How a file was made, written beside it, so that the file itself holds no date, host, duration or path."""

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wced
from wced.files import sha256, whole_file

PACKAGES = ("torch", "lightning", "transformers", "anndata", "scanpy", "tiledbsoma", "scib-metrics", "cz-benchmarks")


def provenance_path(output: str | Path) -> Path:
    """Return where the provenance of `output` stands: `<output>.provenance.json`."""
    output = Path(output)
    return output.with_name(f"{output.name}.provenance.json")


@contextmanager
def recorded(
    output: str | Path, *, command: str, section: Mapping[str, Any], inputs: Mapping[str, str | Path]
) -> Iterator[dict[str, Any]]:
    """Time the block and write beside `output` what was run, on which inputs and with which versions.

    Parameters
    ----------
    output
        File or folder that the block makes.
    command
        Name of the `wced` command.
    section
        The part of the config that the command was given.
    inputs
        Name of each input and its path. Files are recorded by SHA-256, folders by path only.

    Yields
    ------
    dict
        Further facts to record (device, seeds, counts); whatever the block adds is written.
    """
    facts: dict[str, Any] = {}
    start, clock = datetime.now(UTC), time.perf_counter()
    yield facts
    record = {
        "output": str(output),
        "command": command,
        "section": dict(section),
        "inputs": {
            name: {"path": str(path), "sha256": sha256(path) if Path(path).is_file() else None}
            for name, path in inputs.items()
        },
        "wced": wced.__version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "argv": sys.argv,
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "started": start.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        **facts,
    }
    with whole_file(provenance_path(output)) as path:
        path.write_text(json.dumps(record, indent=1, default=str) + "\n")

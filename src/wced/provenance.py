"""How a file was made, written beside it, so that the file itself holds no date, host, duration or path."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wced
from wced.errors import WcedError
from wced.files import sha256, whole_file
from wced.resources import peak_resident

PACKAGES = (
    "anndata", "captum", "cellxgene-census", "cellxgene-ontology-guide", "cz-benchmarks", "h5py", "harmonypy", "igraph",
    "leidenalg", "lightning", "llvmlite", "matplotlib", "numba", "numpy", "pandas", "peft", "pulp", "pyarrow",
    "pydantic", "pynndescent", "safetensors", "scanpy", "scib-metrics", "scikit-learn", "scipy", "scvi-tools",
    "snakemake", "statsmodels", "tiledbsoma", "torch", "torchmetrics", "transformers", "umap-learn",
)  # fmt: skip
"""Packages that numbers, files or figures come from, or that decide what is run."""

ENDING = ".provenance.json"


def provenance_path(output: str | Path) -> Path:
    """Return where the provenance of `output` stands: `<output>.provenance.json`."""
    output = Path(output)
    return output.with_name(f"{output.name}{ENDING}")


@dataclass(frozen=True)
class Hashed:
    """An input whose SHA-256 is known already, so that it need not be read again."""

    path: Path
    """The file."""
    sha256: str
    """Hexadecimal."""


@contextmanager
def recorded(
    output: str | Path,
    *,
    command: str,
    section: Mapping[str, Any],
    inputs: Mapping[str, "str | Path | Hashed | None"],
    seed: int | None = None,
    also: Sequence[str | Path] = (),
) -> Iterator[dict[str, Any]]:
    """Time the block and write beside what it makes what was run, on which inputs and with which versions.

    Seconds and processor seconds are those of the block, what its child processes took included; the memory is the
    largest that the process itself has had.

    Parameters
    ----------
    output
        File or folder that the block makes.
    command
        Name of the `wced` command.
    section
        The part of the config that the command was given.
    inputs
        Name of each input and its path. Files are recorded by SHA-256. Folders are recorded by their recipe: the
        SHA-256 of the command, the section and the inputs that they were made of; None if no command made them. The
        block may still add to them. An input that is None was not given, and is left out.
    seed
        Seed of all that was drawn; None where nothing is.
    also
        Further files and folders that the block makes; each gets the same record beside it.

    Yields
    ------
    dict
        Further facts to record (device, counts); whatever the block adds is written, and goes before the rest.
    """
    facts: dict[str, Any] = {}
    start, clock, used = datetime.now(UTC), time.perf_counter(), sum(os.times()[:4])
    yield facts
    seconds, cpu_seconds = round(time.perf_counter() - clock, 3), round(sum(os.times()[:4]) - used, 2)
    made = [output, *also]
    record = {
        "command": command,
        "section": dict(section),
        "seed": seed,
        "inputs": {name: _input(given) for name, given in inputs.items() if given is not None},
        "outputs": {str(path): sha256(path) if Path(path).is_file() else None for path in made},
        "wced": wced.__version__,
        **code_version(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "argv": sys.argv,
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "device": _device(),
        "started": start.isoformat(timespec="seconds"),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "max_rss_mb": round(peak_resident(), 1),
        **facts,
    }
    for path in made:
        with whole_file(provenance_path(path)) as temporary:
            temporary.write_text(json.dumps({"output": str(path), **record}, indent=1, default=str) + "\n")


def _input(given: "str | Path | Hashed") -> dict[str, Any]:
    if isinstance(given, Hashed):
        return {"path": str(given.path), "sha256": given.sha256}
    path = Path(given)
    if path.is_file():
        return {"path": str(path), "sha256": sha256(path)}
    return {"path": str(path), "sha256": None, "recipe": recipe(path)}


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of `PACKAGES`."""
    return {name: version(name) for name in PACKAGES}


@cache
def code_version() -> dict[str, Any]:
    """Return the commit of the checkout that this package runs from, and whether it was modified since.

    Both are None for a package that is installed elsewhere, or where there is no git to ask.
    """
    unknown = {"commit": None, "modified": None}
    checkout = Path(wced.__file__).parents[2]
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        return unknown
    # Without locks: many jobs may ask at once while the user commits.
    command = ["git", "--no-optional-locks", "-C", checkout, "status", "--porcelain=v2", "--branch", "--"]
    command += ["src", "speed", "workflow", "Snakefile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
    return unknown if commit is None else {"commit": commit, "modified": any(line[0] != "#" for line in lines)}


def _device() -> str:
    """Return the GPU that this process has used, or `cpu`."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_initialized() else "cpu"


def record_of(path: str | Path) -> Path | None:
    """Return the provenance of a file or folder, or of the folder that it was made as a part of; None without any."""
    path = Path(os.path.normpath(Path(path).absolute()))  # not resolved: a link may stand beside its own record
    records = (provenance_path(place) for place in (path, *path.parents) if place.name)
    return next((record for record in records if record.is_file()), None)


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a provenance file; raise WcedError if it is none."""
    try:
        record = json.loads(Path(path).read_text())
    except ValueError:
        record = None
    if not isinstance(record, dict) or not {"output", "command", "section", "inputs"} <= set(record):
        raise WcedError(f"{path}: not a record of wced; remove it and make {str(path).removesuffix(ENDING)} again")
    return record


def recipe(path: str | Path) -> str | None:
    """Return the SHA-256 of how a folder was made: command, section, seed and inputs; None if no command made it.

    It does not depend on when and where that was.
    """
    found = record_of(path)
    if found is None:
        return None
    record = read_record(found)
    inputs = {name: given["sha256"] or given.get("recipe") for name, given in record["inputs"].items()}
    parts = [record["command"], record["section"], record.get("seed"), inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Made:
    """A file or folder in the chain from a result back to its sources."""

    path: Path
    """Where it stands now."""
    sha256: str | None
    """Checksum that its reader recorded, of a folder the recipe; None for what was not read or no command made."""
    record: dict[str, Any] | None
    """How it was made; None for a source, which no command made."""
    inputs: dict[str, "Made"]
    """What it was made of, by name."""
    changed: bool
    """Whether it was made anew after its reader read it, into something else."""

    def sources(self) -> dict[Path, "Made"]:
        """Return where the chain ends, by path: what no command made, or one made of nothing, such as a download."""
        found: dict[Path, Made] = {}
        seen, waiting = set(), [self]
        while waiting:
            part = waiting.pop()
            if part.path not in seen:
                seen.add(part.path)
                found |= {} if part.inputs else {part.path: part}
                waiting += part.inputs.values()
        return found


def trace(path: str | Path) -> Made:
    """Follow the records of a file or folder, those of its inputs and so on.

    A run whose folder was moved is found where it is now.

    Raises
    ------
    WcedError
        If there is no record of how it was made.
    """
    if record_of(path) is None:
        where = "no such file, and " if not Path(path).exists() else ""
        raise WcedError(f"{path}: {where}no record of how it was made beside it or its folder (*{ENDING})")
    return _traced(Path(path), {}, {})


def _traced(path: Path, given: Mapping[str, Any], known: dict[Path, dict[str, Made]]) -> Made:
    """Return the chain of a path, which a record mentions as `given`; `known` has the inputs of records seen before."""
    digest, found = given.get("sha256") or given.get("recipe"), record_of(path)
    if found is None:
        return Made(path, digest, None, {}, False)
    record, made = read_record(found), Path(str(found).removesuffix(ENDING))
    if found not in known:
        known[found] = {}
        for name, part in record["inputs"].items():
            known[found][name] = _traced(_place_now(part["path"], record["output"], made), part, known)
    # Of a file within a folder that was made as a whole there is no checksum to compare with.
    now = record.get("outputs", {}).get(record["output"]) if given.get("sha256") else recipe(path)
    return Made(path, digest, record, known[found], None not in (digest, now) and digest != now)


def _place_now(recorded: str, output: str, output_now: Path) -> Path:
    """Return where a path of a record is now, given where its output was and is: both may have moved together."""
    before, now, same = Path(output).parts, output_now.resolve().parts, 0
    while same < min(len(before), len(now)) and before[-1 - same] == now[-1 - same]:
        same += 1
    start, start_now = Path(*before[: len(before) - same]), Path(*now[: len(now) - same])
    place = Path(recorded)
    return start_now / place.relative_to(start) if place.is_relative_to(start) else place
